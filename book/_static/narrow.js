/* On a narrow screen what is long folds behind a switch. Wide screens, paper and browsers without scripts show all. */
"use strict";
(() => {
  const narrow = matchMedia("(max-width: 600px)");
  const LINES = 5; // of a caption; ncode.css knows the number, too
  const TALL = 0.5; // of the screen's height: a table that takes more folds, and what runs otherwise always does
  const made = [];

  /* A switch called `title` in the place of `nodes`, which stand in a row and go behind it. */
  function fold(nodes, title) {
    const details = document.createElement("details");
    const summary = document.createElement("summary");
    details.className = "ncode-narrow";
    summary.textContent = title;
    nodes[0].before(details);
    details.append(summary, ...nodes);
    made.push(details);
  }

  /* What belongs to a table: its switch for more rows, and what a reader may take away. */
  function* withTable(table) {
    yield table;
    for (let next = table.nextElementSibling; next?.matches(".ncode-more, .ncode-offer"); next = next.nextElementSibling)
      yield next;
  }

  function everything() {
    for (const verdict of document.querySelectorAll(".ncode-verdict:not(.dropdown)"))
      fold([...verdict.children].slice(2), "How this was decided");
    for (const proof of document.querySelectorAll('[class="proof admonition"]'))
      fold([...proof.children], "Show the proof");
    const tables = [...document.querySelectorAll(".bd-article .pst-scrollable-table-container")];
    const folds = (one) => one.querySelector('[id$="-deviations"]') || one.offsetHeight > TALL * innerHeight;
    for (const table of tables.filter((one) => folds(one) && !one.closest("details"))) {
      const [number, text] = table.querySelectorAll(".caption-number, .caption-text");
      if (text) fold([...withTable(table)], `${number.textContent}${text.textContent.split(/[.:;]\s/)[0]}`);
    }
    for (const figure of document.querySelectorAll(".bd-article figure:has(> a > img)"))
      figure.classList.toggle("ncode-swiped", figure.scrollWidth > figure.clientWidth);
    for (const caption of document.querySelectorAll(".bd-article figcaption > p"))
      if (caption.offsetHeight > (LINES + 2) * parseFloat(getComputedStyle(caption).lineHeight)) shorten(caption);
  }

  /* A caption of many lines shows the first of them, and a button that shows the rest. */
  function shorten(caption) {
    const button = document.createElement("button");
    const shown = (all) => {
      caption.classList.toggle("ncode-first-lines", !all);
      button.setAttribute("aria-expanded", all);
      button.textContent = all ? "less" : "more of the caption";
    };
    button.type = "button";
    button.className = "ncode-rest";
    button.addEventListener("click", () => shown(button.getAttribute("aria-expanded") !== "true"));
    caption.after(button);
    shown(false);
  }

  /* What a link leads to is in sight, and of a verdict how it was decided, too. */
  function reveal() {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let at = target; at; at = at.parentElement?.closest("details")) if (at.tagName === "DETAILS") at.open = true;
    const own = target.matches(".ncode-verdict") && target.querySelector(".ncode-narrow");
    if (own) own.open = true;
    target.scrollIntoView();
  }

  function follow() {
    if (narrow.matches && !made.length) everything();
    for (const details of made) details.open = !narrow.matches;
    if (narrow.matches) reveal();
  }

  follow();
  narrow.addEventListener("change", follow);
  addEventListener("hashchange", reveal);
  addEventListener("beforeprint", () => made.forEach((details) => { details.open = true; }));
})();
