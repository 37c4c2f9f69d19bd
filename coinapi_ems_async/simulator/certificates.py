"""The simulator's own certificate authority; made when first needed, because it costs time."""

import ssl
from datetime import UTC, datetime, timedelta
from functools import cached_property
from importlib import import_module
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

from .site_faults import CertificateKind

if TYPE_CHECKING:
    import trustme


class MissingExtra(ImportError):
    """A package of the extra `simulator` is not installed."""

    def __init__(self, use: str = "makes certificates with trustme and cryptography") -> None:
        super().__init__(f'the simulator {use}; install that with: pip install "coinapi-ems-async[simulator]"')


class Authority:
    """Issues the servers' certificate and the client certificates of `/v1/certificate/pem`.

    `secrets` are those of another authority (`secrets`), to be the same.

    Raises MissingExtra: on first use, if the extra `simulator` (trustme, cryptography) is not installed.
    """

    def __init__(self, secrets: tuple[bytes, bytes] | None = None) -> None:
        self._secrets = secrets

    def check(self) -> None:
        """Raise MissingExtra: if no certificate could be made."""
        try:
            for name in ("cryptography.x509", "trustme"):
                import_module(name)
        except ImportError:
            raise MissingExtra from None

    @cached_property
    def _ca(self) -> "trustme.CA":
        self.check()
        import trustme

        if self._secrets is not None:
            return trustme.CA.from_pem(*self._secrets)
        return trustme.CA(organization_name="Simulated EMS")

    @property
    def secrets(self) -> tuple[bytes, bytes]:
        """The authority's certificate and private key, in PEM."""
        return self._ca.cert_pem.bytes(), self._ca.private_key_pem.bytes()

    @property
    def pem(self) -> bytes:
        """The authority's certificate."""
        return self._ca.cert_pem.bytes()

    def mint(self) -> bytes:
        """Return a new client certificate: PUBLIC KEY, PRIVATE KEY (PKCS#8) and CERTIFICATE, one text."""
        issued = self._ca.issue_cert("ems-client.invalid", common_name="EMS client")
        from cryptography.hazmat.primitives import serialization as form

        key = form.load_pem_private_key(issued.private_key_pem.bytes(), None)
        public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
        private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
        return public + private + issued.cert_chain_pems[0].bytes()

    def server_context(
        self, host: str, *, client_certificates: bool, http2: bool = False, kind: CertificateKind = "valid"
    ) -> ssl.SSLContext:
        """Return the context of a server on `host`; client certificates are asked for, never demanded."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
        self._issue(host, kind).configure_cert(context)
        if client_certificates:
            context.verify_mode = ssl.CERT_OPTIONAL
            context.load_verify_locations(cadata=self.pem.decode())
        return context

    def _issue(self, host: str, kind: CertificateKind) -> "trustme.LeafCert":
        names = ("elsewhere.invalid",) if kind == "wrong_host" else (host, "127.0.0.1", "localhost")
        authority = self._ca
        if kind == "untrusted":
            import trustme

            authority = trustme.CA(organization_name="Nobody")
        end = datetime.now(UTC) + timedelta(days=-1 if kind == "expired" else 365)
        return authority.issue_cert(*dict.fromkeys(names), not_before=end - timedelta(days=400), not_after=end)

    def client_context(self) -> ssl.SSLContext:
        """Return a context for clients that trusts this authority and nothing else."""
        return ssl.create_default_context(cadata=self.pem.decode())

    def write(self) -> Path:
        """Write the authority's certificate into a temporary file, mode 0600; the caller removes it."""
        with NamedTemporaryFile(prefix="simulated-ems-", suffix=".pem", delete=False) as file:
            file.write(self.pem)
        return Path(file.name)
