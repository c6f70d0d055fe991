"""A Hugging Face hub on the loopback address, for tests: repositories from a folder, and faults.

It answers the requests of `huggingface_hub` and `datasets`: what a repository holds, its tree, its
paths, its references, and its files, large ones from a second server with another address, as the
real hub does. Every request is logged.

    with LocalHub(root) as hub:             # root/models/<owner>/<name>/..., root/datasets/...
        hub.fail("*config.json", 429, retry_after=2)
        run(env=hub.environment(home))
        assert hub.downloads() == [...]
"""

import os
import threading
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hub_servers import Request, Server
from repositories import Content, Repositories, content_of

# Variables of who runs the tests that a client must not see: tokens, caches, offline modes.
FOREIGN = ("HF_", "HUGGINGFACE_", "HUGGING_FACE_", "TRANSFORMERS_")


@dataclass
class Fault:
    """An answer to the next requests for paths that match a pattern."""

    pattern: str
    times: float
    status: int | None = None
    retry_after: str | None = None
    cut_at: int | None = None
    hold: bool = False
    body: str = ""
    content: Path | None = None


class LocalHub:
    """The servers, their switches and their log. A context manager."""

    def __init__(self, root: Path) -> None:
        self.repositories = Repositories(Path(root))
        self.requests: list[Request] = []
        self.gated: dict[str, set[str]] = {}
        self.known_tokens: set[str] | None = None
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._servers = [Server(self, of_store=of_store) for of_store in (False, True)]
        self.url, self.store_url = (server.url for server in self._servers)

    def __enter__(self) -> "LocalHub":
        for server in self._servers:
            server.start()
        return self

    def __exit__(self, *exception: object) -> None:
        for server in self._servers:
            server.stop()

    # -- switches --------------------------------------------------------------------------------

    def fail(
        self,
        pattern: str,
        status: int,
        *,
        times: float = 1,
        retry_after: object = None,
        body: str = "",
    ) -> None:
        """Answer the next requests for paths like `pattern` with an error."""
        asked = None if retry_after is None else str(retry_after)
        self._faults.append(Fault(pattern, times, status=status, retry_after=asked, body=body))

    def cut(self, pattern: str, at: int, *, times: float = 1, hold: bool = False) -> None:
        """Break the connection before byte `at` of a file, or after none where that was sent.

        With `hold` nothing more is sent, and the connection stays until the client leaves.
        """
        self._faults.append(Fault(pattern, times, cut_at=at, hold=hold))

    def replace(self, pattern: str, content: Path, *, times: float = float("inf")) -> None:
        """Serve another file's content under the same commit; what the hub lists stays.

        For a large file, the path at the hub decides which hash comes with it and the path at the
        store which bytes.
        """
        self._faults.append(Fault(pattern, times, content=content))

    def gate(self, name: str, *tokens: str) -> None:
        """Serve the files of a repository to these tokens alone."""
        self.gated[name] = set(tokens)

    def heal(self) -> None:
        """Switch all faults off."""
        self._faults.clear()

    # -- what tests ask --------------------------------------------------------------------------

    def downloads(self) -> list[str]:
        """Names (without folders) of the files whose content was sent, in order."""
        return [
            Path(urlsplit(request.path).path).name
            for request in self.requests
            if request.method == "GET" and request.status in (200, 206) and _is_file(request)
        ]

    def environment(self, home: Path) -> dict[str, str]:
        """Variables of a process that uses this hub and nothing else; `home` gets its caches.

        Those of this process, of which foreign ones are left out: an empty one would not do, since
        a cache without a name is the working directory.
        """
        own = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        return own | {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",  # datasets would ask a host of its own
            "NO_PROXY": "127.0.0.1",
        }

    def set_environment(self, monkeypatch: Any, home: Path) -> None:
        """Give this process, and those that it starts, the variables of `environment`."""
        wanted = self.environment(home)
        for name in set(os.environ) - set(wanted):
            monkeypatch.delenv(name)
        for name, value in wanted.items():
            monkeypatch.setenv(name, value)

    def use(self, monkeypatch: Any, home: Path) -> None:
        """Make `huggingface_hub` in this process use this hub, as `environment` does elsewhere."""
        from huggingface_hub import constants

        self.set_environment(monkeypatch, home)
        template = self.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", self.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    # -- what the servers ask --------------------------------------------------------------------

    def fault_of(self, path: str, kind: str) -> Fault | None:
        """The fault of a kind (status, cut_at, content) that a request meets, once less often."""
        with self._lock:
            for fault in self._faults:
                if (
                    fault.times > 0
                    and getattr(fault, kind) is not None
                    and fnmatch(path, fault.pattern)
                ):
                    fault.times -= 1
                    return fault
        return None

    def served(self, path: str, content: Content) -> Content:
        """The content that is sent: what the repository holds, unless it was replaced."""
        fault = self.fault_of(path, "content")
        if fault is None or fault.content is None:
            return content
        other = content_of(fault.content)
        return Content(other.path, other.size, other.sha256, other.git_oid, content.large)

    def log(self, request: Request) -> None:
        with self._lock:
            self.requests.append(request)


def _is_file(request: Request) -> bool:
    return request.of_store or "/resolve/" in request.path
