"""Downloads of the `datasets` library, each file compared with what the hub states of it.

The library compares no hashes, and makes its tables of whatever arrived. Imported where a data set
is downloaded, and nowhere else: the import of `datasets` takes a second.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import DatasetBuilder, DownloadConfig, DownloadManager, config
from huggingface_hub import HfFileSystem

from hrsa.data.hub_file import HubFile
from hrsa.errors import UserError

HUB = "hf://"


class CheckedDownloads(DownloadManager):
    """What a builder of the `datasets` library downloads with.

    Parameters
    ----------
    builder
        The builder of a data set, as `datasets.load_dataset_builder` makes it.
    """

    def __init__(self, builder: DatasetBuilder) -> None:
        super().__init__(
            dataset_name=builder.dataset_name,
            data_dir=builder.config.data_dir,
            download_config=DownloadConfig(
                use_etag=False, token=builder.token, storage_options=builder.storage_options or {}
            ),
            base_path=builder.base_path,
        )

    def download(self, url_or_urls: Any) -> Any:
        """Download files, and those that are not what the hub states once more.

        Parameters
        ----------
        url_or_urls
            One address, or lists and dicts of them.

        Returns
        -------
        The same with paths in place of addresses.

        Raises
        ------
        UserError
            A file differs the second time too. It is deleted, the others are kept.
        """
        paths = super().download(url_or_urls)
        if not self._delete_changed():
            return paths
        paths = super().download(url_or_urls)
        if changed := self._delete_changed():
            address, file = next(iter(changed.items()))
            raise UserError(
                f"The file {address.removeprefix(HUB)} is not what the hub states ({file}), and "
                "again when asked anew. Either its content was changed under one revision, or "
                "something on the way alters it. It was deleted; the other files are kept. Run "
                "again later, or from another network."
            )
        return paths

    def _delete_changed(self) -> dict[str, HubFile]:
        """Delete the files that are not what the hub states; returns what it states of them."""
        changed = {}
        for address, path in self.downloaded_paths.items():
            # Other addresses and local files have no one who states what they are.
            if str(address).startswith(HUB):
                file, link = self._stated(str(address)), Path(path)
                if not file.fits(link):
                    changed[str(address)] = file
                    stored = link.resolve()
                    link.unlink(missing_ok=True)
                    stored.unlink(missing_ok=True)
        return changed

    def _stated(self, address: str) -> HubFile:
        # The library has listed the folders of its files: this seldom asks the hub.
        files = HfFileSystem(endpoint=config.HF_ENDPOINT, token=self.download_config.token)
        entry = files.info(address)
        large = entry["lfs"].sha256 if entry.get("lfs") else None
        return HubFile(entry["size"], sha256=large, git_oid=None if large else entry["blob_id"])
