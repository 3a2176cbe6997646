"use strict";
// Read the page's bundle: inside this file, or beside the page on a server.

/** The bundle inside the page itself, as in `preview.html`. */
class InsideFiles {
  constructor(data) {
    this.data = data;
  }

  manifest() {
    return this.data.manifest;
  }

  async model(artifact) {
    return unpack(this.#bytes(artifact.path));
  }

  async wasm() {
    return unpack(this.#bytes("litert.wasm.gz"));
  }

  async photo(name) {
    return new Blob([this.#bytes(name)]);
  }

  holds(artifact) {
    return Boolean(document.getElementById(artifact.path));
  }

  /** Golden photos to try: those embedded in the page. */
  examples() {
    return this.data.examples;
  }

  #bytes(name) {
    return decodeBase64(document.getElementById(name).textContent);
  }
}

/** A bundle's folder beside the page. */
class ServedFiles {
  async manifest() {
    return JSON.parse(await (await this.#fetch("bundle/manifest.json")).text());
  }

  async model(artifact) {
    return this.bytes(artifact.path);
  }

  async wasm() {
    const bytes = new Uint8Array(await (await this.#fetch("litert/litert.wasm.gz")).arrayBuffer());
    return bytes[0] === 0x1f ? unpack(bytes) : bytes; // some servers have browsers unpack .gz
  }

  async photo(name) {
    return (await this.#fetch(`bundle/golden/${name}`)).blob();
  }

  /** Return a file of the bundle as bytes. */
  async bytes(path) {
    return new Uint8Array(await (await this.#fetch(`bundle/${path}`)).arrayBuffer());
  }

  holds() {
    return true;
  }

  examples(manifest) {
    return manifest.golden.filter((one) => !one.encoding).slice(0, 6);
  }

  async #fetch(path) {
    try {
      const answer = await fetch(path, { headers: accessHeaders() });
      if (answer.ok) return answer;
    } catch (error) {
      console.debug(error);
    }
    throw new Problem(say(path.endsWith(".tflite") ? "damagedModel" : "unreachable", { path }));
  }
}

/** The options in the page's address. */
function openFiles() {
  const inside = document.getElementById("bundle");
  return inside ? new InsideFiles(JSON.parse(inside.textContent)) : new ServedFiles();
}

async function unpack(bytes) {
  const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(unpacked).arrayBuffer());
}

function decodeBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  return Uint8Array.from(atob(text.trim()), (one) => one.charCodeAt(0));
}
