"""Write the boards' JSON: ``python -m charts.dashboards``."""

from charts.dashboards.boards import BOARDS, FOLDER, render

for uid, make in BOARDS.items():
    (FOLDER / f"{uid}.json").write_text(render(make()), encoding="utf-8")
