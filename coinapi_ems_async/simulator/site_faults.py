"""What can befall a whole site before anybody has said a word."""

from dataclasses import dataclass
from typing import Final, Literal, get_args

Refusal = Literal["refuse", "blackhole"]
CertificateKind = Literal["valid", "expired", "wrong_host", "untrusted"]

REFUSALS: Final[tuple[Refusal, ...]] = get_args(Refusal)
CERTIFICATES: Final[tuple[CertificateKind, ...]] = get_args(CertificateKind)


@dataclass(frozen=True)
class SiteFault:
    """How a site meets who connects to it; `Simulator.strike` makes it so.

    refuse: nobody listens. blackhole: connections hang. expired, wrong_host, untrusted: its certificate is that
    (with TLS only), until it is "valid" again.

    Raises ValueError: if there is no such thing.
    """

    kind: Refusal | CertificateKind

    def __post_init__(self) -> None:
        known = (*REFUSALS, *CERTIFICATES)
        if self.kind not in known:
            raise ValueError(f"{self.kind!r} is nothing that befalls a site; there are {', '.join(known)}")
