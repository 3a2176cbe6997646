"use strict";
// The bundle's test photos: their labels, and whether the model predicts them correctly.

const examples = []; // { blob, label, button, mark } of each test photo on the page

async function showExamples() {
  const cases = page.files.examples(page.manifest);
  at("tries").hidden = !cases.length;
  for (const one of cases) {
    const blob = await page.files.photo(one.photo), { label } = one, mark = make("span", { class: "mark", "aria-hidden": "true" });
    const button = make("button", { type: "button" }, make("img", { src: URL.createObjectURL(blob), alt: "" }), make("span", {}, mark, breakable(label)));
    button.addEventListener("click", () => show(blob, one.photo, { label }));
    nameExample({ label, button }, say("exampleOf", { label }));
    at("examples").append(make("li", {}, button));
    examples.push({ blob, label, button, mark });
  }
}

function nameExample({ button }, words) {
  button.setAttribute("aria-label", words);
  button.title = words;
}

/** Predict the test photos one after the other, and mark each as correct, wrong or unsure. */
async function markExamples() {
  const { model } = page;
  for (const one of examples) {
    if (page.model !== model) return; // another model marks them
    try {
      await markExample(one);
    } catch (error) { // a damaged photo has no mark; to choose it says why
      console.debug(error);
    }
  }
}

async function markExample(one) {
  const bitmap = await decoded(one.blob, "");
  const { probabilities } = await ask(bitmap, bitmap.width, bitmap.height);
  bitmap.close();
  const kind = verdictOf(judge(page.manifest, probabilities), one.label), words = say(kind, { label: one.label });
  one.mark.textContent = `${words[0]} `;
  one.mark.dataset.verdict = kind;
  nameExample(one, say("exampleMarked", { label: one.label, mark: words.slice(2) }));
}
