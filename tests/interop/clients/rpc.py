"""The few lines of HTTP that the clients' remote controls need."""
import json
import urllib.error
import urllib.parse
import urllib.request
import uuid

from harness.lab import Failure

# Never through a proxy of the environment: everything is on this machine.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def request(url, body=None, headers=None, timeout=10):
    """The response's headers and body. Raises OSError if nothing answers, Failure on an HTTP error."""
    rq = urllib.request.Request(url, data=body, headers=headers or {})
    try:
        with _opener.open(rq, timeout=timeout) as r:
            return r.headers, r.read()
    except urllib.error.HTTPError as e:
        if e.code == 409:  # Transmission hands out its session id this way
            return e.headers, None
        raise Failure(f"HTTP {e.code} from {url}: {e.read()[:200]!r}") from e


def post_json(url, message, headers=None):
    got, body = request(url, json.dumps(message).encode(), headers)
    return got, None if body is None else json.loads(body)


def form(fields):
    return urllib.parse.urlencode(fields).encode()


def multipart(fields, files):
    """Body and headers of a multipart form; `files` is name → (file name, bytes)."""
    mark = uuid.uuid4().hex
    out = b""
    for name, value in fields.items():
        out += f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
    for name, (file_name, data) in files.items():
        out += (f'--{mark}\r\nContent-Disposition: form-data; name="{name}"; filename="{file_name}"\r\n'
                "Content-Type: application/x-bittorrent\r\n\r\n").encode() + data + b"\r\n"
    return out + f"--{mark}--\r\n".encode(), {"Content-Type": f"multipart/form-data; boundary={mark}"}
