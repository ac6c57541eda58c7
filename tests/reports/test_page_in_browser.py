"""The page in a real browser, which opens it, clicks and reads: without a network, dark, on a phone, by keyboard."""

from __future__ import annotations

import pytest
from support.browser import browser
from support.whole_runs import write_whole_run

from medssr.reports.comparison import compare_groups
from medssr.reports.pages import write_report

pytestmark = pytest.mark.slow

EVIL = "<script>document.title = 'hacked'</script><img src=x onerror=\"document.title='hacked'\">"
VISIBLE = "[...document.querySelectorAll('#drafts .item')].filter((item) => !item.hidden).length"


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    runs = [write_whole_run(root, EVIL, name=name) for name in ("one", "two", "three", "four", "five")]
    return write_report(compare_groups(runs, num_examples=2), root / "report")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


def test_it_loads_alone_and_what_models_wrote_does_nothing(page, page_file):
    page.open(page_file)
    assert page.faults == []
    assert page.ask("document.title") == "medssr report: 5 runs"
    assert "document.title = 'hacked'" in page.ask("document.getElementById('stories').textContent")


def test_lists_are_searched_and_filtered(page, page_file):
    page.open(page_file)
    assert page.ask(VISIBLE) == 4
    page.ask("document.querySelector('[data-list=drafts] input').focus()")
    page.write("rejected ONE")
    assert page.ask(VISIBLE) == 1
    assert page.ask("document.querySelector('[data-list=drafts] output').textContent") == "1 of 4"
    page.open(page_file)
    page.ask("""
        const kinds = document.querySelector('[data-list=drafts] select');
        kinds.value = 'no label';
        kinds.dispatchEvent(new Event('change'));
    """)
    assert page.ask(VISIBLE) == 2


def test_details_and_tables_answer_to_the_keyboard(page, page_file):
    page.open(page_file)
    page.ask("document.querySelector('#drafts summary').focus()")
    page.press("Enter")
    assert page.ask("document.querySelector('#drafts details').open")
    table = "document.querySelector('#runs ~ details table')"
    column = f"[...{table}.tHead.rows[0].cells].findIndex((cell) => cell.textContent === 'name')"
    names = f"[...{table}.tBodies[0].rows].map((row) => row.cells[{column}].textContent.trim())"
    assert page.ask(names) == ["one", "two", "three", "four", "five"]
    page.ask(f"{table}.tHead.rows[0].cells[{column}].querySelector('button').focus()")
    page.press("Enter")
    assert page.ask(names) == ["five", "four", "one", "three", "two"]
    page.press("Enter")
    assert page.ask(names) == ["two", "three", "one", "four", "five"]
    assert page.ask(f"{table}.tHead.rows[0].cells[{column}].getAttribute('aria-sort')") == "descending"


@pytest.mark.parametrize("is_dark", [False, True])
def test_it_fits_a_phone_by_day_and_night(page, page_file, is_dark):
    page.open(page_file, width=390, is_dark=is_dark)
    assert page.ask("document.documentElement.scrollWidth") == 390
    page.ask("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert page.ask("document.documentElement.scrollWidth") == 390
    background = page.ask("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(19, 19, 19)" if is_dark else "rgb(255, 255, 255)")


def test_tables_of_differences_fit_a_wide_page(page, page_file):
    page.open(page_file, width=1280)
    page.ask("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    wide = "[...document.querySelectorAll('.scroll')].filter((box) => box.scrollWidth > box.clientWidth)"
    assert page.ask(f"{wide}.map((box) => box.textContent.trim().slice(0, 60))") == []


def test_a_table_that_was_folded_away_sorts_once_it_is_opened(page, page_file):
    page.open(page_file)
    table = "document.querySelector('#every-run table')"
    assert page.ask(f"{table}.querySelector('button') === null")
    assert (
        page.ask(f"""new Promise((done) => {{
        {table}.closest('details').addEventListener('toggle', () => {{
            {table}.querySelector('button').click();
            done({table}.querySelector('th').getAttribute('aria-sort'));
        }});
        document.querySelector('#every-run summary').click();
    }})""")
        == "ascending"
    )


def test_links_lead_to_folders_that_are_there(page, page_file):
    page.open(page_file)
    links = page.ask(
        "[...document.querySelectorAll('#every-run a')].map((link) => decodeURI(link.getAttribute('href')))"
    )
    assert links
    assert all((page_file.parent / link).is_dir() for link in links)
