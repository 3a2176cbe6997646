"use strict";
// "Wrong?": keep the displayed photo with its correct class, for the next training of a run.

const MOST_BUTTONS = 20; // classes up to which each has a button

let agreed = false; // to keep pictures, until the page is closed

function openFeedback() {
  if (!SERVER?.feedback) return;
  const { labels } = page.manifest;
  at("others").hidden = labels.length <= MOST_BUTTONS;
  at("other").replaceChildren(make("option", { value: "" }, say("chooseClass")), ...labels.map((label) => make("option", { value: label }, label)));
  at("other").addEventListener("change", () => (saveButton().disabled = !at("other").value));
  at("keeping").addEventListener("submit", (event) => {
    event.preventDefault();
    if (at("other").value) keepPicture(at("other").value);
  });
}

const saveButton = () => at("others").querySelector("button");

/** Offer the classes as buttons, none of them chosen; of many classes the most probable ones. */
function offerLabels() {
  at("keeping").hidden = !SERVER.feedback;
  at("kept").textContent = "";
  at("other").value = "";
  at("other").disabled = false;
  saveButton().disabled = true;
  const { labels } = page.manifest, few = labels.length <= MOST_BUTTONS;
  const offered = few ? labels : self.tledge.classes.map((one) => one.label);
  at("labels").replaceChildren(...offered.map((label) => {
    const button = make("button", { type: "button" }, label);
    button.addEventListener("click", () => keepPicture(label));
    return button;
  }));
}

/** Save the displayed photo with the label that the user chose, after they agreed. */
async function keepPicture(label) {
  const { shown } = page;
  if (!shown || !(agreed ||= await consent()) || page.shown !== shown) return;
  try {
    const { path } = await call(`feedback?label=${encodeURIComponent(label)}`, shown.blob);
    if (page.shown !== shown) return;
    at("kept").textContent = say("saved", { label, path });
    for (const one of at("keeping").querySelectorAll("button, select")) one.disabled = true; // a photo has one label
  } catch (error) {
    at("kept").textContent = say("notSaved", { why: error.message });
  }
}

function consent() {
  const dialog = at("consent");
  at("consent-text").textContent = say("consent", { folder: SERVER.feedback });
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((decided) => {
    dialog.addEventListener("close", () => decided(dialog.returnValue === "yes"), { once: true });
  });
}
