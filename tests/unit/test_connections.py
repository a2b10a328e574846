"""The number of parallel connections of a process, by the system's limit of open files."""

from __future__ import annotations

import resource

import pytest

from core import serving


@pytest.mark.parametrize(("soft", "hard", "raised", "connections"), [
    (1024, resource.RLIM_INFINITY, 4608, 4096), (1024, 1_048_576, 4608, 4096), (65_536, 1_048_576, None, 4096),
    (1024, 4096, 4096, 3584), (1024, 1024, None, 512), (256, 256, None, 64),
])  # fmt: skip
def test_connections_leave_room_for_other_files(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, raised: int | None, connections: int
) -> None:
    wanted: list[tuple[int, int]] = []
    monkeypatch.setattr(serving.resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(serving.resource, "setrlimit", lambda _, limits: wanted.append(limits))
    assert serving._connections() == connections
    assert wanted == ([(raised, hard)] if raised else [])
