// Builds app/static/dist: JS, CSS, icon sprite and fonts under hashed names, a manifest, and .gz/.br beside each.
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import zlib from 'node:zlib';

import { build } from 'esbuild';
import postcss from 'postcss';
import { PurgeCSS } from 'purgecss';

const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.resolve(here, '../..');
const modules = path.join(root, 'node_modules');
const final = path.join(root, 'app/static/dist');
// Built beside and swapped in at the end: a build that fails leaves the former one whole.
const out = `${final}.new`;

const walk = dir =>
  fs.readdirSync(dir, { withFileTypes: true }).flatMap(e => (e.isDirectory() ? walk(path.join(dir, e.name)) : [path.join(dir, e.name)]));
const templates = walk(path.join(root, 'app/templates'));
const scripts = walk(path.join(here, 'js'));
const views = walk(path.join(root, 'app/routes')).filter(f => f.endsWith('.py'));

const manifest = {};
function put(name, bytes) {
  const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 8);
  const { name: stem, ext } = path.parse(name);
  manifest[name] = `${stem}-${hash}${ext}`;
  fs.writeFileSync(path.join(out, manifest[name]), bytes);
}

function fonts() {
  const file = (name, weight) => fs.readFileSync(path.join(modules, `@fontsource-variable/${name}/files/${name}-latin-${weight}-normal.woff2`));
  put('inter.woff2', file('inter', 'wght'));
  put('mono.woff2', file('jetbrains-mono', 'wght'));
  put('favicon.svg', fs.readFileSync(path.join(here, 'favicon.svg')));
}

// Only icons whose names stand quoted in a template or a view.
function sprite() {
  const folder = path.join(modules, '@tabler/icons/icons/outline');
  const known = new Set(fs.readdirSync(folder).map(f => f.slice(0, -4)));
  const text = [...templates, ...views].map(f => fs.readFileSync(f, 'utf8')).join('\n');
  const names = [...new Set([...text.matchAll(/['"]([a-z][a-z0-9-]*)['"]/g)].map(m => m[1]))].filter(n => known.has(n)).sort();
  const symbol = name => {
    const svg = fs.readFileSync(path.join(folder, `${name}.svg`), 'utf8');
    const shapes = [...svg.matchAll(/<(path|circle|rect|line|polyline)[^>]*\/>/g)].map(m => m[0]).join('');
    return `<symbol id="${name}" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round">${shapes}</symbol>`;
  };
  put('icons.svg', `<svg xmlns="http://www.w3.org/2000/svg">${names.map(symbol).join('')}</svg>`);
  return names.length;
}

async function js() {
  const result = await build({
    entryPoints: ['app.js', 'stream-worker.js'].map(f => path.join(here, 'js', f)),
    bundle: true,
    minify: true,
    format: 'esm',
    splitting: true,
    target: 'es2022',
    outdir: out,
    entryNames: '[name]-[hash]',
    chunkNames: '[name]-[hash]',
    metafile: true,
    legalComments: 'none',
    nodePaths: [modules],
  });
  for (const [file, info] of Object.entries(result.metafile.outputs)) {
    if (info.entryPoint) manifest[path.basename(info.entryPoint)] = path.basename(file);
  }
}

// Tabler cut down to what is used, then our own layer, which is never purged: it names classes made from values.
async function css() {
  const [tabler] = await new PurgeCSS().purge({
    content: [...templates, ...scripts],
    css: [{ raw: fs.readFileSync(path.join(modules, '@tabler/core/dist/css/tabler.min.css'), 'utf8') }],
    variables: true,
    keyframes: true,
    fontFace: true,
    safelist: { standard: [/^:root/, /data-bs-theme/] },
  });
  const result = await build({
    stdin: { contents: `@import "tabler.css";\n@import "uplot/dist/uPlot.min.css";\n@import "./app.css";`, loader: 'css', resolveDir: path.join(here, 'css') },
    bundle: true,
    minify: true,
    write: false,
    external: ['*.woff2'],
    nodePaths: [modules],
    target: ['chrome111', 'firefox115', 'safari16.4'],
    logLevel: 'error',
    plugins: [
      {
        name: 'purged-tabler',
        setup(b) {
          b.onResolve({ filter: /^tabler\.css$/ }, () => ({ path: 'tabler.css', namespace: 'purged' }));
          b.onLoad({ filter: /.*/, namespace: 'purged' }, () => ({ contents: tabler.css, loader: 'css' }));
        },
      },
    ],
  });
  const text = result.outputFiles[0].text.replaceAll('inter.woff2', manifest['inter.woff2']).replaceAll('mono.woff2', manifest['mono.woff2']);
  put('app.css', Buffer.from(follow(text)));
}

// What holds in dark holds in `auto` too where the system is dark: each such rule once more, behind itself, in a media query.
function follow(text) {
  const tree = postcss.parse(text);
  tree.walkRules(/\[data-bs-theme="?dark"?\]/, rule => {
    const selectors = rule.selectors.filter(s => /\[data-bs-theme="?dark"?\]/.test(s)).map(s => s.replace(/\[data-bs-theme="?dark"?\]/g, '[data-bs-theme=auto]'));
    const media = postcss.atRule({ name: 'media', params: '(prefers-color-scheme:dark)', nodes: [rule.clone({ selector: selectors.join(',') })] });
    rule.after(media);
  });
  return tree.toString();
}

const started = Date.now();
fs.rmSync(out, { recursive: true, force: true });
fs.mkdirSync(out, { recursive: true });
fonts();
const icons = sprite();
await js();
await css();
let total = 0;
for (const file of fs.readdirSync(out).filter(f => /\.(js|css|svg)$/.test(f))) {
  const bytes = fs.readFileSync(path.join(out, file));
  const gz = zlib.gzipSync(bytes, { level: 9 });
  fs.writeFileSync(path.join(out, `${file}.gz`), gz);
  fs.writeFileSync(path.join(out, `${file}.br`), zlib.brotliCompressSync(bytes));
  if (!file.endsWith('.svg')) total += gz.length;
}
// Whose work the browser gets, for the page that says so.
const packages = Object.keys(JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8')).dependencies).map(name => {
  const { version, license } = JSON.parse(fs.readFileSync(path.join(modules, name, 'package.json'), 'utf8'));
  return { name, version, licence: license };
});
fs.writeFileSync(path.join(out, 'packages.json'), JSON.stringify(packages));
fs.writeFileSync(path.join(out, 'manifest.json'), JSON.stringify(manifest, null, 1));
fs.rmSync(final, { recursive: true, force: true });
fs.renameSync(out, final);
console.log(`assets: ${icons} icons, JS + CSS ${(total / 1000).toFixed(1)} kB gz, ${Date.now() - started} ms`);
