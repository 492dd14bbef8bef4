"""What a page has asked of its server and not yet been answered: silence alone does not tell that a script has ended."""

from __future__ import annotations

from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

UPLOAD = "/_stcore/upload_file/"


class Conversation:
    """The messages between one page and its server.

    Parameters
    ----------
    page : playwright Page
        Before it has gone anywhere.
    """

    def __init__(self, page: Any) -> None:
        self._asked = False  # a run was asked for and has not begun
        self._running = False
        self._files = 0  # chosen, and not yet on the server
        page.on("websocket", self._listen)
        page.on("requestfinished", self._sent)
        page.on("requestfailed", self._sent)

    @property
    def open(self) -> bool:
        """Whether an answer is still to come."""
        return self._asked or self._running or self._files > 0

    def _listen(self, socket: Any) -> None:
        socket.on("framesent", self._question)
        socket.on("framereceived", self._answer)
        socket.on("close", self._closed)

    def _closed(self, _: Any) -> None:
        self._asked = self._running = False

    def _sent(self, request: Any) -> None:
        self._files -= request.method == "PUT" and UPLOAD in request.url

    def _question(self, frame: bytes | str) -> None:
        if isinstance(frame, str):
            return
        message = BackMsg.FromString(frame)
        self._asked |= message.HasField("rerun_script")
        self._files += len(message.file_urls_request.file_names)

    def _answer(self, frame: bytes | str) -> None:
        if isinstance(frame, str):
            return
        message = ForwardMsg.FromString(frame)
        kind = message.WhichOneof("type")
        if kind == "new_session":
            self._asked, self._running = False, True
        elif kind == "script_finished":
            # a run that was ended early is followed by another
            self._running = message.script_finished == ForwardMsg.FINISHED_EARLY_FOR_RERUN
