// The demo page: asks our own /v1 for a list, tells it what the visitor does, and shows what both
// say. Uses the site's publishable key and nothing that any shop's page could not use.

import { drawing, picture } from "./picture.js";

const ROWS = 24;
const FIELDS = ["title", "brand", "categories", "sale_price", "original_price", "cover_image"];
const TRAIL_LENGTH = 8;
const RETRY_MS = 3000;
const SAID_MS = 3200;

const { api, site, key, currency } = document.body.dataset;
const stored = `attune-demo-${site}`;
const byId = (id) => document.getElementById(id);
const grid = byId("grid");
const calm = matchMedia("(prefers-reduced-motion: reduce)");

// [what the visitor is told they did, how a list refers to it]
const VERBS = {
  product_detail_page_view: ["Looked at", "looked at"],
  add_to_cart: ["Put in the cart", "put in the cart"],
  like: ["Liked", "liked"],
  search: ["Searched for", "searched for"],
  purchase: ["Bought", "bought"],
  category_page_view: ["Looked around in", "looked around in"],
};
const PARTS = {
  words: "has the words",
  meaning: "means the same",
  interest: "fits the interests",
  similar: "is similar",
  popular: "others buy it",
  popularity: "others buy it",
  trending: "is on the rise",
  new: "is new here",
};

let visitor = remembered();
let shown = []; // ids in the list, in its order
let query = ""; // what is searched for; without it the list is what is recommended
let asked = 0; // lists asked for; an answer that was overtaken is dropped
let misoId;
let retry;

// what the visitor does ---------------------------------------------------------------------------

/** Send one interaction and show the list that follows from it. */
async function act(type, about, fields) {
  const [started, who] = [performance.now(), visitor];
  const event = { type, anonymous_id: who.id, ...fields, context: { custom_context: { uuid: uuid() } } };
  if (misoId && fields.product_ids) event.miso_id = misoId;
  try {
    await post("interactions", { data: [event] });
    const fresh = await load();
    if (who !== visitor) return;
    const took = Math.round(performance.now() - started);
    const overtaken = fresh === undefined;
    const news = shown.length ? `${fresh} of ${shown.length}` : "";
    note({ type, about, effect: overtaken ? "counted in the next list" : news ? `${news} new, ${took} ms` : "found nothing" });
    if (!overtaken) say(`${verb(type)[0]} ${about}. ${news ? `${news} products are new.` : "Nothing was found."}`);
  } catch (error) {
    failed(error);
  }
}

function onProduct(type, product) {
  act(type, titleOf(product), { product_ids: [product.product_id] });
}

byId("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const keywords = byId("words").value.trim();
  if (!keywords) return leave();
  query = keywords;
  act("search", `“${keywords}”`, { search: { keywords } });
});

byId("words").addEventListener("input", ({ target }) => {
  if (!target.value && query) leave();
});

byId("leave").addEventListener("click", leave);

/** From what was searched for back to what is recommended. */
async function leave() {
  query = byId("words").value = "";
  try {
    await load();
    say("Back to the picks for this visitor.");
  } catch (error) {
    failed(error);
  }
}

byId("new-visitor").addEventListener("click", async () => {
  visitor = { id: uuid(), trail: [] };
  remember();
  query = byId("words").value = "";
  showTrail();
  try {
    await load();
    say("A new visitor: nothing is known of them.");
  } catch (error) {
    failed(error);
  }
});

document.addEventListener("keydown", ({ key: pressed }) => {
  const open = pressed === "Escape" && grid.querySelector(".why[open]");
  if (!open) return;
  open.open = false;
  open.querySelector("summary").focus();
});

// the list ----------------------------------------------------------------------------------------

/** Ask for the list and show it; how many of its products were not in the one before. */
async function load() {
  const number = ++asked;
  clearTimeout(retry);
  const body = { anonymous_id: visitor.id, rows: ROWS, fl: FIELDS, explain: true };
  const { data } = query
    ? await post("search/search", { ...body, q: query, enable_semantic_search: true })
    : await post("recommendation/user_to_products", body);
  if (number !== asked) return undefined;
  const before = new Set(shown);
  shown = data.products.map((product) => product.product_id);
  misoId = data.miso_id;
  showHeading(data);
  showProducts(data.products, before);
  showInterests(data.interests?.tags ?? []);
  showBecause(data.interests?.events ?? []);
  return shown.filter((id) => !before.has(id)).length;
}

function showHeading({ interests, products, total, took }) {
  const known = (interests?.events ?? []).length > 0;
  const empty = products.length === 0;
  const picked = known ? "Picked for this visitor" : "Popular this week";
  byId("title").textContent = query ? `${empty ? "Nothing" : "Found"} for “${query}”` : picked;
  byId("measure").textContent = empty ? "" : `${counted(products, total)}, answered in ${took} ms`;
  byId("leave").hidden = !query;
  if (query) return notice(empty ? "No product is called that, or is near to it in meaning. Try other words." : "");
  notice(empty ? "This site has no products to show yet. This page looks again every few seconds." : "");
  if (empty) retry = setTimeout(() => load().catch(failed), RETRY_MS);
}

function counted(products, total) {
  const all = total ?? products.length;
  return all > products.length ? `${products.length} of ${all} products` : `${all} ${all === 1 ? "product" : "products"}`;
}

function showProducts(products, before) {
  const places = new Map([...grid.children].map((item) => [item.dataset.id, item.getBoundingClientRect()]));
  const kept = new Map([...grid.children].map((item) => [item.dataset.id, item]));
  const focused = [...grid.children].findIndex((item) => item.contains(document.activeElement));
  const items = products.map((product) => {
    const item = kept.get(product.product_id) ?? tile(product);
    item.classList.toggle("fresh", before.size > 0 && !before.has(product.product_id));
    item.querySelector(".why-body").replaceChildren(...why(product._explanation));
    return item;
  });
  const gone = focused >= 0 && !items.includes(grid.children[focused]);
  grid.replaceChildren(...items);
  // Whoever steps through the list by keyboard goes on from where they were.
  if (gone) items[Math.min(focused, items.length - 1)]?.querySelector(".open").focus({ preventScroll: true });
  if (!calm.matches) items.forEach((item, index) => move(item, places.get(item.dataset.id), index));
}

/** Let a tile glide from where it was, or appear where it was not. */
function move(item, from, index) {
  const timing = { duration: 420, easing: "cubic-bezier(.2,.7,.2,1)", fill: "backwards" };
  if (!from) {
    const rising = [{ opacity: 0, transform: "translateY(10px)" }, { opacity: 1, transform: "none" }];
    item.animate(rising, { ...timing, delay: Math.min(index, 12) * 18 });
    return;
  }
  const to = item.getBoundingClientRect();
  const [x, y] = [from.x - to.x, from.y - to.y];
  if (x || y) item.animate([{ transform: `translate(${x}px, ${y}px)` }, { transform: "none" }], timing);
}

function tile(product) {
  const open = make("button", { type: "button", class: "open" }, titleOf(product));
  open.addEventListener("click", () => onProduct("product_detail_page_view", product));
  const explanation = make("details", { class: "why", name: "why" }, make("summary", {}, "Why"), make("div", { class: "why-body" }));
  const actions = make(
    "div",
    { class: "actions" },
    doing("like", "Like", product, "M12 20C3 14 4 6 9 6c2 0 3 2 3 2s1-2 3-2c5 0 6 8-3 14Z"),
    doing("add_to_cart", "Add to cart", product, "M4 5h2l2 10h9l2-7H7m2 11v.1m7-.1v.1"),
  );
  return make(
    "li",
    { class: "tile", "data-id": product.product_id },
    make("div", { class: "stage" }, image(product), make("span", { class: "badge" }, "New"), actions),
    make("p", { class: "shelf" }, (product.categories?.[0] ?? []).at(-1) ?? product.brand ?? ""),
    make("h3", {}, open),
    make("div", { class: "foot" }, make("p", { class: "price" }, price(product)), explanation),
  );
}

function doing(type, label, product, path) {
  const button = make("button", { type: "button", "aria-label": `${label}: ${titleOf(product)}`, title: label });
  button.append(icon(path));
  button.addEventListener("click", () => onProduct(type, product));
  return button;
}

function image(product) {
  if (!product.cover_image) return picture(product);
  const photo = make("img", { src: product.cover_image, alt: "", loading: "lazy", referrerpolicy: "no-referrer", class: "picture" });
  photo.addEventListener("error", () => photo.replaceWith(picture(product)), { once: true });
  return photo;
}

/** The score's parts and the events behind them. */
function why(explanation) {
  if (!explanation) return [make("p", { class: "hint" }, "This list came without reasons.")];
  const parts = Object.entries(explanation.parts);
  const rows = parts.map(([name, value]) =>
    make("li", {}, make("span", {}, PARTS[name] ?? name.replaceAll("_", " ")), bar(value), number(value)),
  );
  const reasons = explanation.because.map((event) =>
    make("li", {}, `You ${verb(event.type)[1]} `, make("b", {}, quoted(event))),
  );
  const sum = make("p", { class: "sum" }, `Place ${explanation.position}, score ${explanation.score.toFixed(2)}`);
  return [sum, make("ul", { class: "parts" }, ...rows), ...(reasons.length ? [make("ul", { class: "reasons" }, ...reasons)] : [])];
}

// the visitor -------------------------------------------------------------------------------------

function showInterests(tags) {
  const box = byId("interests");
  const groups = grouped(tags);
  if (!groups.length) {
    box.replaceChildren(make("p", { class: "hint" }, "Nothing yet. Open a product, or search: the list follows at once."));
    return;
  }
  const kept = new Map([...box.querySelectorAll("li")].map((row) => [row.dataset.name, row]));
  box.replaceChildren(
    ...groups.map(([heading, found]) =>
      make(
        "div",
        { class: "group", "data-kind": heading },
        make("h3", {}, heading),
        make("ul", { class: "bars" }, ...found.map((tag) => interest(tag, kept.get(`${heading}/${tag.name}`), heading))),
      ),
    ),
  );
}

function interest(tag, known, heading) {
  const row = known ?? make("li", { "data-name": `${heading}/${tag.name}` }, make("span", {}, tag.label), bar(0), number(0));
  const share = Math.min(1, tag.weight);
  row.querySelector(".value").textContent = `${Math.round(100 * share)} %`;
  // One frame later, so that a bar grows from what it was.
  requestAnimationFrame(() => row.querySelector(".bar").style.setProperty("--share", share));
  return row;
}

/** Categories by their last name, then themes, brands and the words that say something beside them. */
function grouped(tags) {
  const of = (kind) => tags.filter((tag) => tag.kind === kind).map((tag) => ({ ...tag, label: tag.name }));
  const categories = of("category")
    .filter((tag, _, all) => !all.some((other) => other.name.startsWith(`${tag.name} > `)))
    .map((tag) => ({ ...tag, label: tag.name.split(" > ").at(-1) }));
  const groups = [["Categories", categories.slice(0, 5)], ["Brands", of("brand").slice(0, 4)], ["Styles", of("style").slice(0, 3)], ["Themes", of("tag").slice(0, 5)]];
  const said = groups.flatMap(([, found]) => found.map((tag) => tag.label.toLowerCase())).join(" ");
  const words = of("word").filter((tag) => !said.includes(tag.name.replace(/s$/, "")));
  return [...groups, ["Words", words.slice(0, 3)]].filter(([, found]) => found.length);
}

function showBecause(events) {
  const telling = events.filter((event) => event.weight > 0).slice(0, 6);
  const total = telling.reduce((sum, event) => sum + event.weight, 0);
  const rows = telling.map((event) =>
    make(
      "li",
      {},
      make("span", {}, `${verb(event.type)[1]} `, make("b", {}, quoted(event))),
      make("span", { class: "value", title: "share of this list" }, `${Math.round((100 * event.weight) / total)} %`),
    ),
  );
  const nothing = make("li", { class: "hint" }, "Did nothing yet: the list is what everybody buys.");
  byId("because").replaceChildren(...(rows.length ? rows : [nothing]));
}

function note(entry) {
  visitor.trail = [{ ...entry, at: Date.now() }, ...visitor.trail].slice(0, TRAIL_LENGTH);
  remember();
  showTrail();
}

function showTrail() {
  const rows = visitor.trail.map(({ type, about, effect, at }) =>
    make(
      "li",
      {},
      make("time", { datetime: new Date(at).toISOString() }, clock(at)),
      make("span", {}, `${verb(type)[0]} `, make("b", {}, about), make("small", {}, effect)),
    ),
  );
  const nothing = make("li", { class: "hint" }, `Visitor ${visitor.id.slice(0, 4)} has just come in.`);
  byId("trail").replaceChildren(...(rows.length ? rows : [nothing]));
}

function remembered() {
  try {
    const found = JSON.parse(localStorage.getItem(stored));
    if (typeof found?.id === "string" && Array.isArray(found.trail)) return found;
  } catch {
    // No storage, or not ours: the visitor lasts as long as the page.
  }
  return { id: uuid(), trail: [] };
}

function remember() {
  try {
    localStorage.setItem(stored, JSON.stringify(visitor));
  } catch {
    // See above.
  }
}

// words -------------------------------------------------------------------------------------------

function titleOf(product) {
  return product.title ?? product.product_id;
}

function verb(type) {
  const plain = type.replaceAll("_", " ");
  return VERBS[type] ?? [plain[0].toUpperCase() + plain.slice(1), plain];
}

function quoted(event) {
  return event.type === "search" ? `“${event.label}”` : event.label;
}

function price(product) {
  const value = product.sale_price ?? product.original_price;
  if (value === undefined) return "";
  return new Intl.NumberFormat("en-GB", currency ? { style: "currency", currency } : { minimumFractionDigits: 2 }).format(value);
}

function clock(at) {
  return new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" }).format(at);
}

/** Shown for a moment, read out by a screen reader. */
function say(text) {
  const said = byId("said");
  said.textContent = text;
  said.classList.add("visible");
  clearTimeout(say.timer);
  say.timer = setTimeout(() => said.classList.remove("visible"), SAID_MS);
}

function failed(error) {
  const again = make("button", { type: "button" }, "Try again");
  again.addEventListener("click", () => load().catch(failed));
  notice(error instanceof TypeError ? "The gateway does not answer. Is it running?" : error.message, again);
}

function notice(text, ...more) {
  const box = byId("notice");
  box.hidden = !text;
  box.replaceChildren(...(text ? [make("p", {}, text), ...more] : []));
}

// pieces ------------------------------------------------------------------------------------------

/** POST as the SDKs do it, without a preflight; the answer, or an Error with its message. */
async function post(path, body) {
  const response = await fetch(`${api}/${path}?api_key=${encodeURIComponent(key)}`, {
    method: "POST",
    body: JSON.stringify(body),
  });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(`The gateway answered ${response.status}: ${answer.message ?? "no reason given"}`);
  return answer;
}

function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, value);
  element.append(...children);
  return element;
}

function bar(share) {
  const made = make("i", { class: "bar", "aria-hidden": "true" });
  made.style.setProperty("--share", Math.max(0, Math.min(1, share)));
  return made;
}

function number(value) {
  return make("span", { class: "value" }, value.toFixed(2));
}

function icon(path) {
  const made = drawing("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" });
  made.append(drawing("path", { d: path }));
  return made;
}

/** crypto.randomUUID exists only on https and localhost. */
function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

// start -------------------------------------------------------------------------------------------

if (matchMedia("(max-width: 60rem)").matches) {
  for (const id of ["because-panel", "trail-panel"]) byId(id).open = false;
}
remember();
showTrail();
load().catch(failed);
