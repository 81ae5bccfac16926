"""Checks whether a service on this machine is alive: `python -m backpack_streams.runtime.probe [URL]`, exit code 0 or 1.

For health checks in images without an HTTP client. Without a URL, it asks /healthz on the port in
BACKPACK_STREAMS_METRICS_PORT (default 9400), by IPv4, then by IPv6. A service whose port was given by flag needs the URL.
"""

import os
import sys
import urllib.error
import urllib.request

PORT_VARIABLE = "BACKPACK_STREAMS_METRICS_PORT"
USUAL_PORT = "9400"  # the port of every service in our image
TIMEOUT_SECONDS = 3.0


def probe(url: str) -> str:
    """Return in one line why the answer at `url` is not a good one; empty if it is.

    Args:
        url: the address of a service's /healthz.
    """
    # No proxy: the service runs on this machine, whatever the environment says about proxies.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=TIMEOUT_SECONDS):
            return ""
    except urllib.error.HTTPError as error:
        with error:
            return f"{url} answers {error.code}: {error.read(500).decode(errors='replace').strip()}"
    except (OSError, ValueError) as error:  # ValueError: not a URL
        return f"{url} does not answer: {error}"


def main(arguments: list[str]) -> int:
    """Probe the given URL, or the service's own /healthz."""
    port = os.environ.get(PORT_VARIABLE) or USUAL_PORT
    urls = arguments[:1] or [f"http://{host}:{port}/healthz" for host in ("127.0.0.1", "[::1]")]
    problems = []
    for url in urls:
        problem = probe(url)
        if not problem:
            return 0
        problems.append(problem)
    sys.stderr.write("\n".join(problems) + "\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
