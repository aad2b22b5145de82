"""nchan, a publish-subscribe module for nginx in C, from Debian's libnginx-mod-nchan."""

import os
import shutil
from pathlib import Path

MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")

CONFIGURATION = """\
load_module {module};
{user}worker_processes 1;
worker_rlimit_nofile {files};
daemon off;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections {files}; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    nchan_shared_memory_size 256M;
    server {{
        listen 127.0.0.1:{port} backlog=2048;
        location = /ws {{
            nchan_subscriber websocket;
            nchan_channel_id main;
            nchan_subscriber_first_message -5;
        }}
        location = /publish {{
            nchan_publisher websocket;
            nchan_channel_id main;
            nchan_message_buffer_length 1000;
            nchan_message_timeout 1h;
        }}
    }}
}}
"""


def missing() -> str:
    """Return the command that installs missing parts, or an empty string."""
    if shutil.which("nginx", path=_path()) and MODULE.is_file():
        return ""
    return "apt-get install nginx-light libnginx-mod-nchan"


def command(port: int, folder: Path) -> list[str]:
    """Write a configuration into `folder`, and return the command of an nginx with one worker."""
    nginx = shutil.which("nginx", path=_path())
    assert nginx
    configuration = folder / "nginx.conf"
    user = "user root;\n" if os.geteuid() == 0 else ""
    configuration.write_text(
        CONFIGURATION.format(module=MODULE, folder=folder, port=port, user=user, files=20_000),
        encoding="utf-8",
    )
    return [nginx, "-e", "stderr", "-p", str(folder), "-c", str(configuration)]


def _path() -> str:
    return os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"
