"""nginx that answers everything with one canned text, in one process without logs."""

import contextlib
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from ..canned import REPORT
from ..cores import file_limit
from ..peers import Skipped
from .base import SITES, Certificates, Server
from .management import answers

_TEMPORARY: Final = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
_PATIENCE: Final = 5.0


@contextlib.contextmanager
def running(folder: Path, certificates: Certificates | None) -> Iterator[Server]:
    """Yield the server; `folder` is for what it writes. Raises Skipped: if it is not there, or does not start."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/bin")
    if program is None:
        raise Skipped("it is not installed")
    number = _version(program)
    ports = _free_ports(4 + SITES)
    (folder / "nginx.conf").write_text(configuration(folder, ports, certificates, number))
    command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "errors")]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _await_answers(process, ports[0], folder)
            clear, h2, management, tls = (f"127.0.0.1:{port}" for port in ports[:4])
            yield Server(
                name=f"nginx {'.'.join(map(str, number))}",
                clear=f"http://{clear}",
                h2=f"http://{h2}",
                management=f"http://{management}",
                tls=f"https://{tls}" if certificates is not None else None,
            )
        finally:
            process.terminate()


def configuration(
    folder: Path, ports: list[int], certificates: Certificates | None, number: tuple[int, ...]
) -> str:
    """Return the text of nginx.conf for the nginx of that version: HTTP/2 is switched on in two ways."""
    clear, h2, management, tls, *sites = ports
    old = number < (1, 25, 1)

    def server(port: int, *options: str, routes: Mapping[str, str] | None = None, speaks_h2: bool = False) -> str:
        listen = [f"127.0.0.1:{port}", *options, *(["http2"] if speaks_h2 and old else []), "backlog=4096"]
        lines = [f"listen {' '.join(listen)};"]
        if speaks_h2 and not old:
            lines.append("http2 on;")
        if "ssl" in options and certificates is not None:
            lines.append(f"ssl_certificate {certificates.chain}; ssl_certificate_key {certificates.chain};")
        for path, body in (routes or {}).items():
            lines.append(f"location = {path} {{ return 200 '{body}'; }}")
        lines.append(f"location / {{ return 200 '{REPORT.decode()}'; }}")
        return "server { " + "\n".join(lines) + " }"

    urls = [f"http://127.0.0.1:{port}" for port in sites]
    servers = [server(clear), server(h2, speaks_h2=True), server(management, routes=answers(urls))]
    if certificates is not None:
        servers.append(server(tls, "ssl", speaks_h2=True))
    servers += [server(port) for port in sites]
    return "\n".join([_common(folder), *servers, "}\n"])


def _common(folder: Path) -> str:
    paths = " ".join(f"{name}_temp_path {folder}/{name};" for name in _TEMPORARY)
    return f"""daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/errors warn;
events {{ worker_connections {max(512, file_limit() - 100)}; }}
http {{
access_log off;
default_type application/json;
keepalive_timeout 1h;
keepalive_requests 1000000000;
http2_max_concurrent_streams 4096;
{paths}"""


def _version(program: str) -> tuple[int, ...]:
    told = subprocess.run([program, "-v"], capture_output=True, text=True, check=False)
    found = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", told.stderr + told.stdout)
    if found is None:
        raise Skipped("it does not tell its version")
    return tuple(map(int, found.groups()))


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]


def _await_answers(process: "subprocess.Popen[bytes]", port: int, folder: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.01)
    errors = folder / "errors"
    last = errors.read_text().strip().splitlines()[-1:] if errors.exists() else []
    raise Skipped(f"it does not start ({' '.join(last) or 'no reason given'})")
