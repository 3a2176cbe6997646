"use strict";
// The prediction: its class, its marks, bars, and what stands in its place before there is one.

const QUIET_MS = 1000; // a screen reader hears a new label at most so often
const MOST_CLASSES = 24; // names of classes before the first photo
const WHY = { provisional: "provisionalWhy", unverified: "unverifiedWhy" };

/** Return "provisional" or "unverified" for an artifact that did not pass verification, else "". */
function standing(artifact) {
  if (artifact.provisional) return "provisional";
  return artifact.verdict === "passed" ? "" : "unverified";
}

/** Return the sentence that explains the standing of an artifact. */
function standingReason(artifact) {
  const { verdict, independent_images: images, independent_agreement: agreement } = artifact;
  return say(WHY[standing(artifact)], { verdict, images, agreement: percent(agreement ?? artifact.agreement) });
}

/** Name the classes where a prediction will stand, before there is one. */
function showClasses({ labels }) {
  const most = labels.slice(0, MOST_CLASSES).map((label) => make("li", {}, breakable(label))), rest = labels.length - most.length;
  if (rest > 0) most.push(make("li", { class: "more" }, say("moreClasses", { count: rest })));
  at("classes").replaceChildren(...most);
}

/** Take away the prediction and its photo, so that none stands beside an error or another model's name. */
function clearAnswer(words) {
  page.shown?.bitmap.close();
  page.shown = null;
  if (!page.camera) at("stage").dataset.shows = "";
  at("answer").classList.remove("answered", "unsure");
  at("headline").textContent = words;
  at("bars").replaceChildren();
  at("said").textContent = at("speed").textContent = "";
  at("truth").hidden = at("standing").hidden = at("below").hidden = at("figure").hidden = true;
  at("before").hidden = !page.manifest;
  hideSides();
}

/** Display a prediction: the label, bars, and the pixels that the model received. */
function showAnswer(found, label = "") {
  const judged = judge(page.manifest, found.probabilities), { height, width } = page.manifest.input;
  const [best] = judged.classes;
  at("headline").textContent = judged.abstained ? say("unsure") : best.label;
  at("answer").classList.add("answered");
  at("answer").classList.toggle("unsure", judged.abstained);
  at("before").hidden = true;
  showMarks(judged, label);
  showBars(judged);
  at("below").textContent = aboutThreshold(judged);
  at("below").hidden = !at("below").textContent;
  paint(at("seen"), found.pixels, height, width);
  at("figure").hidden = false;
  tell(judged.abstained ? say("unsureOf", { label: best.label }) : `${best.label}, ${percent(best.confidence)}`);
  self.tledge = { probabilities: found.probabilities, pixels: found.pixels, ...judged }; // for tests and the curious
  return judged;
}

/** Say below which confidence a prediction is unsure, or why there is no such threshold. */
function aboutThreshold({ calibrated, threshold }) {
  if (!calibrated) return say("uncalibrated");
  if (threshold) return say("below", { threshold: percent(threshold) });
  return say("notSet", { why: page.manifest.confidence.reason || say("noReason") });
}

function showBars(judged) {
  const bars = at("bars");
  while (bars.children.length > judged.classes.length) bars.lastChild.remove();
  while (bars.children.length < judged.classes.length)
    bars.append(make("li", {}, make("span", { class: "label" }), make("span", { class: "bar" }, make("i")), make("span", { class: "share" })));
  judged.classes.forEach((one, place) => {
    const [label, bar, share] = bars.children[place].children;
    label.textContent = breakable(one.label);
    bar.style.setProperty("--share", one.confidence);
    bar.style.setProperty("--threshold", judged.threshold);
    bar.classList.toggle("limited", judged.threshold > 0);
    share.textContent = percent(one.confidence);
    share.title = say("raw", { probability: one.probability });
  });
}

/** Show beside the prediction whether it is correct, where that is known, and whether the model is verified. */
function showMarks(judged, label) {
  const kind = label && verdictOf(judged, label), held = standing(page.model.artifact);
  at("truth").hidden = !label;
  at("truth").dataset.verdict = kind;
  at("truth").textContent = label && say(kind, { label });
  at("standing").hidden = !held;
  at("standing").textContent = held && say(held);
  at("standing").title = held && standingReason(page.model.artifact);
}

/** Return "correct", "incorrect" or "rejected" for a prediction of a photo whose label is known. */
function verdictOf({ abstained, classes }, label) {
  if (abstained) return "rejected";
  return classes[0].label === label ? "correct" : "incorrect";
}

/** Announce a text to screen readers, not too often and not twice. */
function tell(words) {
  const now = performance.now(), label = words.split(",")[0];
  if (now - page.said < QUIET_MS || at("said").textContent.startsWith(label)) return;
  page.said = now;
  at("said").textContent = words;
}
