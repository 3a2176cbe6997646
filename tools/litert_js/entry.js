// What the page takes of LiteRT.js, as one global.
export { Tensor, loadAndCompile, loadLiteRt } from "@litertjs/core";
