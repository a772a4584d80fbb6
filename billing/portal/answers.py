"""Answers that are not pages."""

from flask import Response


def attachment(content: bytes, file_name: str, media_type: str) -> Response:
    """Return a file to download."""
    response = Response(content, content_type=media_type)
    if media_type == "text/csv":
        response.headers["Content-Type"] = "text/csv; charset=utf-8"
    response.headers.set("Content-Disposition", "attachment", filename=file_name)
    return response
