#!/usr/bin/env bash
# Brings LiteRT.js, as its makers publish it, into export/web/litert: tools/litert_js/build.sh
#
# package-lock.json pins every package by version and hash and names no address. Needs Node.js; the page itself needs
# neither Node.js nor this script.
set -euo pipefail
cd "$(dirname "$0")"
npm ci --ignore-scripts --no-audit --no-fund
published=node_modules/@litertjs/core
out=../../export/web/litert
mkdir -p "$out"
# A page that asks for no GPU gives the same numbers on every machine, so navigator.gpu is not asked.
npx esbuild entry.js --bundle --minify --format=iife --global-name=LiteRT --target=es2022 \
    --alias:@litertjs/wasm-utils=./wasm_utils.js --define:navigator.gpu=undefined --outfile="$out/litert.js"
npx esbuild "$published/wasm/litert_wasm_compat_internal.js" --minify --target=es2022 --outfile="$out/litert_wasm.js"
gzip --best --no-name --stdout "$published/wasm/litert_wasm_compat_internal.wasm" > "$out/litert.wasm.gz"
cp ../../LICENSE "$out/LICENSE"
(cd "$out" && sha256sum LICENSE litert.js litert.wasm.gz litert_wasm.js > SHA256SUMS)
