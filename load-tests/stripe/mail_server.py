"""A mail server for tests: aiosmtpd on a loopback port.

    mail_server.py FOLDER [CERTIFICATE KEY USER PASSWORD]

Writes FOLDER/port once it listens, and every mail it took to
FOLDER/mail-N.json. With a certificate it insists on STARTTLS and then on the
login. While FOLDER/hold exists, a mail is kept but never answered: as if the
line broke at the worst moment.
"""

import asyncio
import email
import email.policy
import json
import os
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


class Keeper:
    def __init__(self, folder):
        self.folder, self.count = folder, 0

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        part = lambda kind: mail.get_body((kind,)).get_content()
        self.count += 1
        write(self.folder, f"mail-{self.count}.json", json.dumps({
            "mail_from": envelope.mail_from, "rcpt_tos": envelope.rcpt_tos,
            "from": mail["From"], "to": mail["To"], "subject": mail["Subject"],
            "message_id": mail["Message-ID"], "date": mail["Date"],
            "kind": mail.get_content_type(), "text": part("plain"), "html": part("html"),
            "tls": session.ssl is not None, "login": session.authenticated,
        }))
        if os.path.exists(os.path.join(self.folder, "hold")):
            await asyncio.sleep(3600)
        return "250 kept"


def write(folder, name, text):
    """Writes the file atomically."""
    path = os.path.join(folder, name)
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(path + ".new", path)


def guarded(certificate, key, user, password):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    known = LoginPassword(user.encode(), password.encode())

    def authenticate(server, session, envelope, mechanism, data):
        return AuthResult(success=data == known, handled=data == known)

    return {"tls_context": context, "require_starttls": True,
            "authenticator": authenticate, "auth_required": True}


async def main():
    folder, options = sys.argv[1], {}
    if len(sys.argv) > 2:
        options = guarded(*sys.argv[2:])
    keeper = Keeper(folder)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(keeper, hostname="mail.example.test", loop=loop, **options),
        "127.0.0.1", 0)
    write(folder, "port", str(server.sockets[0].getsockname()[1]))
    await server.serve_forever()


asyncio.run(main())
