"""TLS on 127.0.0.1, with a certificate that is as worthless as its public key file."""

import ssl
from pathlib import Path

# Valid until 2125: openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes
# -days 36500 -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1
PEM = Path(__file__).with_name("localhost.pem")
"""A private key and its certificate."""


def server_tls() -> ssl.SSLContext:
    """Return the context of a server."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(PEM)
    return context


def client_tls() -> ssl.SSLContext:
    """Return the context of a client that trusts `server_tls`."""
    return ssl.create_default_context(cafile=PEM)
