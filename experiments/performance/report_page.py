"""Measures the page of a report in headless Chromium: its size, and how soon it answers.

    python experiments/performance/report_page.py FOLDER/report/index.html
    python experiments/performance/report_page.py FOLDER/report/index.html --pictures DIR

It prints the bytes of the page and of its figures, the milliseconds from the start of loading until the page can be
read and searched (its script has run: DOMContentLoaded) and until all figures are shown (load), and the processor time
of parsing, script, layout and painting on the page's main thread, which a busy machine does not change: the median of
five openings; with `--pictures`, it writes the page at 1280 and 390 pixels, light and dark. It needs Chromium and a
checkout, whose tests drive the browser.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "tests"))

from support.browser import Page, browser

NUM_OPENINGS = 5
TIMES = "(({domContentLoadedEventEnd, loadEventEnd}) => [domContentLoadedEventEnd, loadEventEnd])"
# Names of Chromium's trace. Parsing includes the script, which stands at the end of the page.
WORK = ("ParseHTML", "EvaluateScript", "UpdateLayoutTree", "Layout", "PrePaint", "Paint")
NAVIGATION = "performance.getEntriesByType('navigation')[0]"


def measure(page: Page, file: Path) -> tuple[float, float]:
    """Returns the medians of the milliseconds until the page answers and until it is complete."""
    times = []
    for _ in range(NUM_OPENINGS):
        page.open(file)
        times.append(page.ask(f"new Promise((done) => setTimeout(() => done({TIMES}({NAVIGATION})), 0))"))
    return statistics.median(time[0] for time in times), statistics.median(time[1] for time in times)


def processor_ms(page: Page, file: Path) -> dict[str, float]:
    """Returns the medians of the processor time in ms that each kind of work takes until the first frame."""
    openings = [page.processor_times(file) for _ in range(NUM_OPENINGS)]
    return {name: statistics.median(times[name] for times in openings) for name in WORK}


def main() -> None:
    """Prints the measurements of a page."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("page", type=Path)
    flags.add_argument("--pictures", type=Path, help="a folder for pictures of the page")
    given = flags.parse_args()
    figures = sum(file.stat().st_size for file in given.page.parent.glob("*.png"))
    print(f"page {given.page.stat().st_size / 1e6:.2f} MB, figures {figures / 1e6:.2f} MB")
    with tempfile.TemporaryDirectory() as folder, browser(Path(folder)) as page:
        answers, complete = measure(page, given.page)
        print(f"answers after {answers:.0f} ms, complete after {complete:.0f} ms")
        times = processor_ms(page, given.page)
        print("processor: " + ", ".join(f"{name} {milliseconds:.0f} ms" for name, milliseconds in times.items()))
        if given.pictures is not None:
            given.pictures.mkdir(parents=True, exist_ok=True)
            for width in (1280, 390):
                for is_dark in (False, True):
                    page.open(given.page, width, is_dark)
                    page.picture(given.pictures / f"{width}_{'dark' if is_dark else 'light'}.png")
        for fault in page.faults:
            print(f"fault: {fault}")


if __name__ == "__main__":
    main()
