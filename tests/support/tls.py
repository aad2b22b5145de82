"""TLS on 127.0.0.1, with a certificate that is as worthless as its public key file."""

import datetime
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.jwts import private_pem

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


def write_other_pem(path: Path) -> None:
    """Write another key and certificate of `localhost`, which `client_tls` does not trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, SHA256())
    )
    path.write_bytes(private_pem(key).encode() + certificate.public_bytes(Encoding.PEM))
