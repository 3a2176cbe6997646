"use strict";
// Features of `tledge preview` for a run: the other models side by side, and flips.

/** Request JSON from the server. Throws an Error with the server's reason if it refuses. */
async function call(path, body, type = "application/octet-stream") {
  const headers = accessHeaders();
  if (body !== undefined) headers["Content-Type"] = type;
  const answer = await fetch(`api/${path}`, { method: body === undefined ? "GET" : "POST", body, headers });
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.error);
  return told;
}

async function openSides() {
  if (!SERVER) return;
  if (SERVER.flips) await showFlips();
}

function hideSides() {
  at("sides").hidden = at("keeping").hidden = true;
}

/** Display the prediction of every model of the run for the same pixels. */
async function compareSides(shown) {
  if (!SERVER) return;
  offerLabels();
  if (!SERVER.models.length) return;
  at("sides").hidden = false;
  at("sides-verdict").textContent = say("sidesWaiting");
  try {
    const { answers } = await call("answers", shown.pixels);
    if (page.shown === shown) drawSides(shown, answers);
  } catch (error) {
    at("sides-verdict").textContent = say("sidesFailed", { why: error.message });
  }
}

function drawSides(shown, answers) {
  const own = { model: say("sidesThis", { variant: page.model.artifact.variant }), probabilities: Array.from(shown.probabilities), milliseconds: shown.invoke };
  const able = answers.filter((one) => one.probabilities), reference = able[0] ?? own;
  const all = [...answers, own];
  at("sides-rows").replaceChildren(...all.map((one) => sideRow(one, reference)));
  const best = (one) => ranked(one.probabilities, 1)[0];
  const asked = all.filter((one) => one.probabilities);
  const others = asked.filter((one) => best(one) !== best(reference));
  at("sides-verdict").textContent = others.length
    ? say("sidesDiffer", { count: others.length, all: asked.length, reference: reference.model })
    : say("sidesSame", { count: asked.length });
  at("sides").classList.toggle("differs", others.length > 0);
}

/** Return a cell of a figure; narrow screens show its name beside it. */
function figureCell(figure, text, name = "") {
  return make("td", { class: "number", "data-figure": figure, "data-name": name }, text);
}

function sideRow(one, reference) {
  const name = make("th", { scope: "row" }, one.model);
  if (!one.probabilities) return make("tr", {}, name, make("td", { colspan: "4" }, one.error));
  const [row] = ranked(one.probabilities, 1), mine = confidence(page.manifest, one.probabilities);
  const theirs = confidence(page.manifest, reference.probabilities), apart = Math.max(...mine.map((share, place) => Math.abs(share - theirs[place])));
  const differs = row !== ranked(reference.probabilities, 1)[0];
  const label = make("td", {}, page.manifest.labels[row]);
  if (differs) label.append(" ", make("strong", { class: "badge" }, say("sidesDiffers")));
  const made = make("tr", differs ? { class: "differs" } : {}, name, label,
    figureCell("share", percent(mine[row])),
    figureCell("apart", one === reference ? "–" : `${(100 * apart).toFixed(1)} pp`, say("sidesApart")),
    figureCell("time", short(one.milliseconds), say("sidesTime")));
  made.dataset.model = one.model;
  return made;
}

async function showFlips() {
  const { flips } = await call("flips");
  at("flips").hidden = false;
  at("flips-none").hidden = flips.length > 0;
  const visible = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      visible.unobserve(target);
      flipImage(target.dataset.row).then((blob) => { target.src = URL.createObjectURL(blob); }, console.debug);
    }
  });
  for (const one of flips) {
    const words = say("flipOf", one), image = make("img", { alt: "", "data-row": one.row }), { label } = one;
    const button = make("button", { type: "button", title: words, "aria-label": words }, image,
      make("span", { class: "of" }, say("flipLabel", { label: breakable(label) })), flipLine("Keras", one.keras, label), flipLine(one.variant, one.artifact, label));
    button.addEventListener("click", () => attempt(async () => show(await flipImage(one.row), one.image, { label })));
    at("flips-list").append(make("li", {}, button));
    visible.observe(image);
  }
}

function flipLine(model, predicted, label) {
  const correct = predicted === label, mark = make("span", { class: "mark", "data-verdict": correct ? "correct" : "incorrect" }, correct ? "✓ " : "✗ ");
  return make("span", {}, mark, `${model}: ${breakable(predicted)}`);
}

/** Request the preprocessed test photo of a flip; an image element could not show the key. */
async function flipImage(row) {
  const path = `api/flips/${row}.png`, answer = await fetch(path, { headers: accessHeaders() });
  if (!answer.ok) throw new Problem(say("unreachable", { path }));
  return answer.blob();
}
