"use strict";
// The access key of `tledge preview`. It stands in no address, cookie or history, and is kept for this tab alone.

/** Whether `tledge preview` serves this page; any other server needs no key. */
const IS_PREVIEW = Boolean(document.querySelector("meta[name=tledge-server]"));

/** The server's features, null on any other server: models, feedback (the folder), flips. */
let SERVER = null;

const KEY_NAME = "tledge-key";
let accessKey = storedKey();

function storedKey() {
  try {
    return (IS_PREVIEW && sessionStorage.getItem(KEY_NAME)) || "";
  } catch (error) { // the browser keeps nothing for this page
    console.debug(error);
    return "";
  }
}

function useKey(key) {
  accessKey = key;
  try {
    sessionStorage.setItem(KEY_NAME, key);
  } catch (error) {
    console.debug(error);
  }
}

/** Take the key that the page came with. Returns true where the page loads again, at its own address. */
function takeKey() {
  if (!IS_PREVIEW) return false;
  const inAddress = /^#key=([\w-]+)$/.exec(location.hash); // from a phone's QR code
  if (inAddress) {
    useKey(inAddress[1]);
    history.replaceState(null, "", location.pathname + location.search);
  }
  const inPage = document.querySelector("meta[name=tledge-key]"); // from the form that tledge opened
  if (!inPage) return false;
  useKey(inPage.content);
  location.replace("/");
  return true;
}

/** Return the headers that show the key to the server of `tledge preview`. */
function accessHeaders() {
  return accessKey ? { Authorization: `Bearer ${accessKey}` } : {};
}

/** Wait until the key is known and right, and learn what the server offers. */
async function openServer() {
  if (!IS_PREVIEW) return;
  if (!accessKey) await enteredKey("keyNeeded");
  for (;;) {
    const answer = await fetch("api/features", { headers: accessHeaders() }).catch(() => null);
    if (answer?.ok) {
      SERVER = await answer.json();
      return;
    }
    if (answer?.status !== 403) throw new Problem(say("unreachable", { path: "api/features" }));
    await enteredKey("keyWrong");
  }
}

/** Show the form for the key, and wait until it is sent. */
function enteredKey(words) {
  document.body.dataset.state = "locked";
  at("headline").textContent = "";
  at("entry-why").textContent = say(words);
  at("entry").hidden = false;
  at("key").focus();
  return new Promise((done) => {
    const send = (event) => {
      event.preventDefault();
      useKey(at("key").value.replace(/[^\w-]/g, ""));
      at("key").value = "";
      at("entry").hidden = true;
      at("headline").textContent = say("starting");
      document.body.dataset.state = "loading";
      done();
    };
    at("entry").addEventListener("submit", send, { once: true });
  });
}
