"""Write the boards' JSON and the tables of their panels in the documentation: ``python -m charts.dashboards``."""

from charts.dashboards.boards import BOARDS, FOLDER, render
from charts.dashboards.page import PAGE, explained

for uid, make in BOARDS.items():
    board = make()
    (FOLDER / f"{uid}.json").write_text(render(board), encoding="utf-8")
    PAGE.write_text(explained(PAGE.read_text(encoding="utf-8"), board), encoding="utf-8")
