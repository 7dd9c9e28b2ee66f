"""Where things stand: nothing covers what is to be read, what belongs together lines up."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.conftest import Developer, armed, select
from tests.fixtures.processes import Site

READ = ("read_file", {"path": "notes.txt"})


def test_at_four_hundred_percent_the_bar_leaves_the_call_to_be_read(
    as_person: Callable[..., Page], alice: Developer, embedded: Site
) -> None:
    (gate,) = alice.ask(alice.risky())
    rita = as_person("rita", viewport={"width": 360, "height": 225})
    rita.goto(f"{embedded.url}/queue/{gate}/")
    covered = "document.elementFromPoint(180, 200).closest('#actions') !== null"
    assert not rita.evaluate(covered)
    rita.locator("#decide .approve").scroll_into_view_if_needed()
    assert rita.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_filter_that_nothing_matches_says_so_at_the_top_of_the_list(
    live_queue: Callable[..., Page], alice: Developer
) -> None:
    rita = live_queue()
    (gate,) = alice.ask(READ)
    rita.locator(f'.row[data-id="{gate}"]').wait_for()
    rita.fill("#q", "nothing like it")
    box = rita.locator("#no-match").bounding_box()
    assert box is not None
    assert box["y"] < 200


def test_picking_a_call_moves_no_row(live_queue: Callable[..., Page], alice: Developer) -> None:
    rita = live_queue()
    (gate,) = alice.ask(READ)
    select(rita, gate)
    row = rita.locator(f'.row[data-id="{gate}"]')
    before = row.bounding_box()
    row.locator(".pick").check()
    expect(rita.locator("[data-picked]")).to_have_text("1 selected")
    assert row.bounding_box() == before


def test_the_buttons_of_the_bar_are_of_one_height_and_its_links_begin_where_the_text_does(
    live_queue: Callable[..., Page], alice: Developer, embedded: Site
) -> None:
    rita = live_queue()
    (gate,) = alice.ask(READ)
    select(rita, gate)
    heights = rita.locator("#decide > .buttons > :is(button, a)").evaluate_all(
        "found => found.map((each) => each.getBoundingClientRect().height)"
    )
    assert len(set(heights)) == 1
    rita.goto(f"{embedded.url}/queue/{gate}/")
    left = "found => found.map((each) => Math.round(each.getBoundingClientRect().left))"
    edges = rita.locator(".back, #sentence, #decide .approve").evaluate_all(left)
    assert len(set(edges)) == 1


def test_ones_own_claim_is_no_badge_in_ones_own_list(
    live_queue: Callable[..., Page], as_person: Callable[..., Page], alice: Developer, embedded: Site
) -> None:
    rita = live_queue()
    (gate,) = alice.ask(READ)
    select(rita, gate)
    expect(rita.locator("[data-claim-text]")).to_have_text("You have claimed this.")
    again = rita.context.new_page()
    again.goto(f"{embedded.url}/queue/")
    expect(again.locator(f'.row[data-id="{gate}"]')).to_be_visible()
    expect(again.locator(f'.row[data-id="{gate}"] .claimed')).to_be_hidden()
    adam = as_person("adam")
    adam.goto(f"{embedded.url}/queue/")
    expect(adam.locator(f'.row[data-id="{gate}"] .claimed')).to_have_text("Rita Rossi")


def test_on_paper_a_call_is_there_to_its_last_line_and_nothing_is_to_be_pressed(
    as_person: Callable[..., Page], alice: Developer, embedded: Site
) -> None:
    (gate,) = alice.ask(("write_file", {"path": "paper.txt", "text": "a line\n" * 90}))
    rita = as_person("rita")
    for address in (f"/queue/{gate}/", f"/queue/?gate={gate}"):
        rita.goto(embedded.url + address)
        rita.wait_for_selector(f'#gate[data-id="{gate}"]')
        rita.emulate_media(media="print")
        hidden = rita.locator("#gate .diff, #gate .value, #detail, .panes").evaluate_all(
            "boxes => boxes.map((box) => box.scrollHeight - box.clientHeight).filter((more) => more > 1)"
        )
        assert hidden == [], address
        for part in (".topbar", "#decide", ".list-pane"):
            assert not any(each.is_visible() for each in rita.locator(part).all()), part
        rita.emulate_media(media="screen")


def test_in_forced_colours_the_chosen_row_and_page_can_be_told(
    live_queue: Callable[..., Page], alice: Developer
) -> None:
    rita = live_queue(forced_colors="active")
    gate, _ = alice.ask(READ, ("list_directory", {"path": "."}))
    select(rita, gate)
    chosen, *others = rita.locator(".row a[aria-current], .row a:not([aria-current])").evaluate_all(
        "found => found.sort((a, b) => a.ariaCurrent ? -1 : 1).map((each) => getComputedStyle(each).borderLeftColor)"
    )
    assert others
    assert chosen not in others
    under = rita.locator(".places a").evaluate_all(
        "found => found.map((each) => getComputedStyle(each).borderBottomColor)"
    )
    assert len(set(under)) == 2


# The names of the number fields too narrow for their digits and the arrows beside them.
TOO_NARROW = """all => {
  const pen = document.createElement("canvas").getContext("2d");
  return all.filter((each) => {
    const style = getComputedStyle(each);
    pen.font = `${style.fontSize} ${style.fontFamily}`;
    const room = each.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    return pen.measureText(each.value).width + 15 > room;
  }).map((each) => each.name);
}"""


def test_the_admins_number_fields_show_all_of_their_number(as_person: Callable[..., Page], embedded: Site) -> None:
    adam = as_person("adam")
    for address in ("/admin/approvals/tenantpolicy/add/", "/admin/agents/agent/add/"):
        adam.goto(embedded.url + address)
        assert adam.locator("input[type=number]").count() > 0
        assert adam.locator("input[type=number]").evaluate_all(TOO_NARROW) == [], address


def test_the_confirmation_of_a_long_call_shows_all_of_its_sentence(
    as_person: Callable[..., Page], alice: Developer, embedded: Site
) -> None:
    (gate,) = alice.ask(("http_request", {"url": f"{embedded.url}/demo/page/?q={'a' * 400}", "method": "POST"}))
    rita = as_person("rita", viewport={"width": 390, "height": 800})
    rita.goto(f"{embedded.url}/queue/{gate}/")
    armed(rita)
    rita.evaluate("document.querySelectorAll('[data-must-read]').forEach((box) => box.scrollTo(0, 1e6))")
    rita.evaluate("scrollTo(0, 1e6)")
    expect(rita.locator("[data-hint]")).to_have_text("Read to the end.")
    rita.click("#decide .approve")
    dialog = rita.locator("#confirm-high")
    expect(dialog).to_be_visible()
    assert dialog.evaluate("each => each.scrollWidth <= each.clientWidth")
