// Stands in for @litertjs/wasm-utils, which adds a script element for the glue code: the page already holds it,
// inlined or beside it, so that its content security policy can name every script.
export async function createWasmLib(Library) {
  const module = await self.ModuleFactory(self.Module);
  self.ModuleFactory = self.Module = undefined;
  return new Library(module);
}
