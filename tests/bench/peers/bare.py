"""The limit: `bare.c`, a send() loop over the clients' sockets, compiled when it is needed."""

import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("bare.c")


def missing() -> str:
    """Why it cannot run here."""
    return "" if shutil.which("cc") else "apt-get install gcc libc6-dev"


def command(port: int, folder: Path) -> list[str]:
    """The program, compiled into `folder`."""
    program = folder / "bare"
    subprocess.run(["cc", "-O2", "-Wall", "-o", str(program), str(SOURCE)], check=True)
    return [str(program), str(port)]
