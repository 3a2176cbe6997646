"use strict";
// The preprocessing: upright RGB on white, stretched to size like Pillow's BILINEAR, with antialiasing.
// A port of Pillow's Resample.c in its own fixed-point arithmetic; golden photos hold it to one grey level.

const WEIGHT_BITS = 22; // of a weight behind the point
const STRIPE = 256; // rows decoded at a time: large photos neither need a large canvas nor block the page

/** For every output pixel: the start and length of its input range in a line, and the weights. */
function weights(length, wanted) {
  const scale = length / wanted, support = Math.max(scale, 1), most = Math.ceil(support) * 2 + 1;
  const starts = new Int32Array(wanted), counts = new Int32Array(wanted), values = new Int32Array(wanted * most);
  for (let place = 0; place < wanted; place++) {
    const center = (place + 0.5) * scale;
    const start = Math.max(0, Math.trunc(center - support + 0.5));
    const end = Math.min(length, Math.trunc(center + support + 0.5));
    const shares = [];
    for (let at = start; at < end; at++) shares.push(Math.max(0, 1 - Math.abs((at - center + 0.5) / support)));
    const sum = shares.reduce((one, other) => one + other, 0);
    shares.forEach((share, at) => {
      values[place * most + at] = Math.trunc(0.5 + (share / sum) * (1 << WEIGHT_BITS));
    });
    starts[place] = start;
    counts[place] = end - start;
  }
  return { starts, counts, values, most };
}

/**
 * Stretches `lines` lines to `wanted` pixels. `step` and `lineStep` lead to the next pixel and line in `from`,
 * `toStep` and `toLineStep` in `to`, `start` to the first line's place there.
 */
function stretch(from, step, length, lineStep, lines, to, toStep, wanted, toLineStep, start, table) {
  const { starts, counts, values, most } = table ?? weights(length, wanted);
  const half = 1 << (WEIGHT_BITS - 1);
  for (let line = 0; line < lines; line++) {
    for (let place = 0; place < wanted; place++) {
      const first = place * most, count = counts[place];
      let at = line * lineStep + starts[place] * step, red = half, green = half, blue = half;
      for (let one = 0; one < count; one++, at += step) {
        const weight = values[first + one];
        red += from[at] * weight;
        green += from[at + 1] * weight;
        blue += from[at + 2] * weight;
      }
      const target = start + line * toLineStep + place * toStep;
      to[target] = red >> WEIGHT_BITS;
      to[target + 1] = green >> WEIGHT_BITS;
      to[target + 2] = blue >> WEIGHT_BITS;
    }
  }
}

/** Pillow's alpha_composite on white, with its rounding. */
function layOnWhite(rgba) {
  for (let at = 0; at < rgba.length; at += 4) {
    const alpha = rgba[at + 3];
    if (alpha === 255) continue;
    for (let one = at; one < at + 3; one++) {
      const mixed = ((rgba[one] * alpha + 255 * (255 - alpha)) << 7) + (128 << 7);
      rgba[one] = ((mixed >> 8) + mixed) >> 15;
    }
  }
}

/**
 * What a model takes: RGB bytes Uint8Array[height * width * 3] of a decoded picture of `columns` x `rows` pixels;
 * `stripe(top, count)` gives rows of it as RGBA. `breathe` is awaited between stripes.
 */
async function prepareRows(stripe, columns, rows, height, width, breathe = () => undefined) {
  const narrow = new Uint8Array(rows * width * 3), line = 3 * width;
  const table = weights(columns, width);
  for (let top = 0; top < rows; top += STRIPE) {
    if (top) await breathe();
    const count = Math.min(STRIPE, rows - top), rgba = stripe(top, count);
    layOnWhite(rgba);
    if (columns === width) copyRows(rgba, narrow, top * line);
    else stretch(rgba, 4, columns, 4 * columns, count, narrow, 3, width, line, top * line, table);
  }
  if (rows === height) return narrow;
  const made = new Uint8Array(height * width * 3);
  stretch(narrow, line, rows, 3, width, made, line, height, 3, 0);
  return made;
}

/** Return the RGB of RGBA rows that need no resizing. */
function copyRows(rgba, to, start) {
  for (let at = 0, target = start; at < rgba.length; at += 4) {
    to[target++] = rgba[at];
    to[target++] = rgba[at + 1];
    to[target++] = rgba[at + 2];
  }
}

/** Return the preprocessed pixels of an ImageBitmap or video, `columns` x `rows` pixels. */
async function prepare(source, columns, rows, height, width) {
  const canvas = document.createElement("canvas");
  canvas.width = columns;
  canvas.height = Math.min(STRIPE, rows);
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const stripe = (top, count) => {
    pen.clearRect(0, 0, columns, count);
    pen.drawImage(source, 0, top, columns, count, 0, 0, columns, count);
    return pen.getImageData(0, 0, columns, count).data;
  };
  const breathe = () => new Promise((resume) => setTimeout(resume));
  return prepareRows(stripe, columns, rows, height, width, source instanceof ImageBitmap ? breathe : undefined);
}

/** Decode a photo's file like Pillow: upright by EXIF, without colour management. Throws if it is not a photo. */
function decode(blob) {
  return createImageBitmap(blob, {
    imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none",
  });
}

/** Whether a file is a PNG of 16 bits, which browsers reduce to 8 by dropping the lower ones. */
async function isDeep(blob) {
  const head = new Uint8Array(await blob.slice(0, 25).arrayBuffer());
  return head[0] === 0x89 && head[1] === 0x50 && head[24] === 16;
}

/** Draw preprocessed pixels on a canvas of their size. */
function paint(canvas, pixels, height, width) {
  canvas.width = width;
  canvas.height = height;
  const picture = new ImageData(width, height);
  for (let from = 0, to = 0; to < picture.data.length; to++) {
    picture.data[to] = to % 4 === 3 ? 255 : pixels[from++];
  }
  canvas.getContext("2d").putImageData(picture, 0, 0);
}
