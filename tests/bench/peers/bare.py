"""The limit: `bare.c`, a send() loop over the sockets of the clients, compiled for each run."""

import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("bare.c")


def missing() -> str:
    """Return the command that installs missing parts, or an empty string."""
    return "" if shutil.which("cc") else "apt-get install gcc libc6-dev"


def command(port: int, folder: Path) -> list[str]:
    """Compile the program into `folder`, and return its command."""
    program = folder / "bare"
    subprocess.run(["cc", "-O2", "-Wall", "-o", str(program), str(SOURCE)], check=True)
    return [str(program), str(port)]
