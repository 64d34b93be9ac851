"""Posts a record over TLS: python mutual_tls.py URL BODY AUTHORITY [CERTIFICATE KEY]. Prints the status, or `refused`."""

import ssl
import sys
import urllib.error
import urllib.request

url, body, authority, *own = sys.argv[1:]
context = ssl.create_default_context(cafile=authority)
context.check_hostname = False
if own:
    context.load_cert_chain(*own)
request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/x-ndjson"})
try:
    with urllib.request.urlopen(request, context=context, timeout=60) as answer:
        print(answer.status)
except urllib.error.HTTPError as error:
    print(error.code)
except (urllib.error.URLError, ssl.SSLError, ConnectionError):
    print("refused")
