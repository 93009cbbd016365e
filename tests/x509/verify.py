"""Asks Python's cryptography whether a certificate is good.

    verify.py CA LEAF server|client NAME UNIX_TIME

Prints `good` and the names of the certificate, or `bad` and why.
"""

import datetime
import ipaddress
import sys

from cryptography import x509
from cryptography.x509 import verification


def main(authority, leaf, purpose, name, moment):
    with open(authority, "rb") as file:
        store = verification.Store(x509.load_pem_x509_certificates(file.read()))
    with open(leaf, "rb") as file:
        certificate = x509.load_pem_x509_certificate(file.read())
    when = datetime.datetime.fromtimestamp(int(moment), datetime.timezone.utc)
    builder = verification.PolicyBuilder().store(store).time(when)
    try:
        if purpose == "server":
            builder.build_server_verifier(subject(name)).verify(certificate, [])
        else:
            builder.build_client_verifier().verify(certificate, [])
            names = certificate.extensions.get_extension_for_class(
                x509.SubjectAlternativeName
            ).value.get_values_for_type(x509.DNSName)
            if names != [name]:
                raise verification.VerificationError(f"the names are {names}")
    except verification.VerificationError as error:
        print("bad:", error)
    else:
        print("good")


def subject(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


main(*sys.argv[1:])
