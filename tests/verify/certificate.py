"""Prints the SHA-256 of the certificate that a server at a port of loopback shows: python certificate.py PORT."""

import hashlib
import socket
import ssl
import sys

context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as stream:
    with context.wrap_socket(stream) as tls:
        print(hashlib.sha256(tls.getpeercert(binary_form=True)).hexdigest())
