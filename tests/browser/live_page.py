"""Uses the live page as a person does: live_page.py URL SCREENSHOT, then orders by line.

Orders on standard input, an answer to each on standard output:
  shown TEXT     wait until a failed answer whose line holds TEXT is shown
  after TEXT     print how many milliseconds after the answer left its line was there
  way TEXT       print how its line came: "told", where the feed told it, how many feeds were opened,
                 and how often the page asked for the newest
  click TEXT     click on it, and print what its story says
  key TEXT       go to it by the keyboard, open it, print what its story says
  scripts        print how many elements of outsiders' making the page holds
  dark           look again as someone whose system is dark; print the background
  picture        write the screenshot
"""

import sys
import time

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

OPTIONS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--window-size=1280,800",
]
PATIENCE = 10
# When each line of the feed was there, by its id, in milliseconds of the wall clock.
WATCH = """
window.there = new Map();
new MutationObserver((changes) => {
  for (const change of changes)
    for (const line of change.addedNodes) window.there.set(line.id, Date.now());
}).observe(document.getElementById("feed"), { childList: true });
"""
# What the page opens and asks, and what its feed told by itself.
SPY = """
window.seen = { feeds: 0, newest: 0, told: new Set() };
const Source = window.EventSource, ask = window.fetch;
window.EventSource = class extends Source {
  constructor(...words) {
    super(...words);
    seen.feeds += 1;
    this.addEventListener("message", (event) => seen.told.add(JSON.parse(event.data).id));
  }
};
window.fetch = (what, ...more) => {
  if (String(what).startsWith("/api/newest")) seen.newest += 1;
  return ask(what, ...more);
};
"""
WAY = """
return [seen.told.has(arguments[0].slice(2)) ? "told" : "asked for", seen.feeds, seen.newest].join(" ");
"""
AFTER = """
const verdict = verdicts.get(arguments[0].slice(2));
return window.there.get(arguments[0]) - Date.parse(verdict.time);
"""


def open_page(url):
    options = webdriver.ChromeOptions()
    for option in OPTIONS:
        options.add_argument(option)
    options.binary_location = "/usr/bin/chromium"
    browser = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": "{" + SPY + "}"})
    browser.get(url)
    browser.execute_script(WATCH)
    return browser


def lines(browser):
    return browser.find_elements(By.CSS_SELECTOR, "#feed [role=option]")


def line(browser, text):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for one in lines(browser):
            if text in one.text:
                return one
        time.sleep(0.02)
    raise SystemExit(f"'{text}' is not shown: {browser.find_element(By.TAG_NAME, 'main').text}")


def story(browser):
    dialog = browser.find_element(By.ID, "story")
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        page = browser.find_element(By.ID, "story-page").get_property("textContent")
        if dialog.is_displayed() and page:
            text = dialog.get_property("textContent")
            dialog.send_keys(Keys.ESCAPE)
            if not dialog.is_displayed():
                return " ".join(text.split())
        time.sleep(0.02)
    raise SystemExit("no story opens, or it does not close by Escape")


def by_key(browser, text):
    wanted = line(browser, text).get_attribute("id")
    feed = browser.find_element(By.ID, "feed")
    feed.send_keys(Keys.HOME)
    for _ in range(len(lines(browser))):
        if feed.get_attribute("aria-activedescendant") == wanted:
            feed.send_keys(Keys.ENTER)
            return story(browser)
        feed.send_keys(Keys.ARROW_DOWN)
    raise SystemExit("the keyboard does not get there")


def click(browser, text):
    line(browser, text).click()
    return story(browser)


def dark(browser):
    scheme = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)
    return browser.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")


def main():
    url, picture = sys.argv[1:]
    browser = open_page(url)
    try:
        print("open", flush=True)
        for order in sys.stdin:
            verb, _, text = order.strip().partition(" ")
            if verb == "shown":
                print(line(browser, text).text.replace("\n", " "), flush=True)
            elif verb == "after":
                shown = line(browser, text).get_attribute("id")
                print(browser.execute_script(AFTER, shown), flush=True)
            elif verb == "way":
                shown = line(browser, text).get_attribute("id")
                print(browser.execute_script(WAY, shown), flush=True)
            elif verb == "click":
                print(click(browser, text), flush=True)
            elif verb == "key":
                print(by_key(browser, text), flush=True)
            elif verb == "scripts":
                print(len(browser.find_elements(By.CSS_SELECTOR, "main img, main script, main b")), flush=True)
            elif verb == "dark":
                print(dark(browser), flush=True)
            elif verb == "picture":
                print(browser.save_screenshot(picture), flush=True)
    finally:
        browser.quit()


main()
