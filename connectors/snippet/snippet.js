/* Attune's browser snippet: tells what a visitor does and shows the lists that follow from it.
   How a page uses it: docs/how-to/snippet.md. Served without its comments and indentation. */
(function () {
  "use strict";
  const early = window.attune;
  const script = document.currentScript || document.querySelector("script[data-key]");
  if (!script || (early && early.track)) return;

  const settings = script.dataset;
  const base = script.src.replace(/snippet\.js.*$/, "v1/");
  const VISITOR = "attune_vid", QUEUE = "attune_queue";
  const BATCH = 20, MOST_QUEUED = 200, LONGEST_PAUSE_S = 60, PATIENCE_MS = 1e4, MOST_KEEPALIVE = 6e4;
  const IDS = settings.productProperty || "sku productID gtin gtin14 gtin13 gtin12 gtin8";
  const FIELDS = ["title", "url", "cover_image", "sale_price", "original_price"];
  const LISTS = {
    recommend: ["recommendation/user_to_products", "Recommended for you"],
    similar: ["recommendation/product_to_products", "Similar products"],
    trending: ["recommendation/user_to_trending", "Popular now"],
    history: ["recommendation/user_to_history", "Recently viewed"],
    search: ["search/search", "Search results"],
  };

  // What fails here fails for good reason: no storage, JSON that is none, a URL that is none.
  const attempt = (act) => {
    try {
      return act();
    } catch (error) {}
  };
  const warn = (error) => console.warn("attune:", error.message);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const words = (text) => (text || "").match(/[^\s,]+/g) || [];

  // crypto.randomUUID exists only on https and localhost.
  function uuid() {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    bytes[6] = (bytes[6] & 15) | 64;
    bytes[8] = (bytes[8] & 63) | 128;
    const hex = [...bytes].map((byte) => (byte + 256).toString(16).slice(1)).join("");
    return hex.replace(/(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  }

  // the visitor -----------------------------------------------------------------------------------

  let given = settings.visitor, own, user = {}, granted = false;

  const mayKeep = () => granted && !navigator.globalPrivacyControl;
  const whoIsIt = () => given || own || (own = uuid());

  function setCookie(value, seconds) {
    const secure = location.protocol === "https:" ? ";Secure" : "";
    attempt(() => (document.cookie = `${VISITOR}=${value};Max-Age=${seconds};Path=/;SameSite=Lax${secure}`));
  }

  const cookie = () => attempt(() => document.cookie.match(/(?:^|; )attune_vid=([\w-]+)/)[1]);

  function keep() {
    if (given || !mayKeep()) return;
    setCookie(whoIsIt(), 31536000);
    if (cookie() !== own) attempt(() => localStorage.setItem(VISITOR, own));
  }

  function consent(yes) {
    const before = mayKeep();
    granted = !!yes;
    if (!mayKeep()) {
      setCookie("", 0);
      attempt(() => localStorage.removeItem(VISITOR));
      attempt(() => sessionStorage.removeItem(QUEUE));
      if (before) {
        own = "";
        queue = [];
      }
    } else if (!before) {
      own = cookie() || attempt(() => localStorage.getItem(VISITOR)) || own;
      keep();
      queue = [].concat(attempt(() => JSON.parse(sessionStorage.getItem(QUEUE))) || [], queue);
      if (settings.consent === "required") look((product = 0)); // it has not told of the page
      flush();
    }
  }

  function visitor(id) {
    given = id && String(id);
  }

  function identify(id, proof) {
    user = id ? { user_id: String(id), user_hash: (proof || {}).userHash } : {};
    // A record with both ids joins them; under this uuid it counts once for ever.
    const custom_context = { uuid: `identify ${whoIsIt()} ${id}` };
    return id ? track("custom", { custom_action_name: "identify", context: { custom_context } }) : flush();
  }

  function reset() {
    user = {};
    given = own = "";
    keep();
  }

  // events: a record stays queued until it is acknowledged; its uuid makes it count once ------------

  let queue = [], sending, failures = 0, paused = false, gone = false;
  const beaconed = new WeakSet();

  function track(type, fields) {
    if (settings.consent === "required" && !granted) return Promise.resolve();
    const { context = {}, ...more } = fields || {};
    queue.push({
      type,
      anonymous_id: whoIsIt(),
      user_id: user.user_id,
      timestamp: new Date().toISOString(),
      ...more,
      context: {
        page: { url: location.origin + location.pathname },
        ...context,
        custom_context: { uuid: uuid(), ...context.custom_context },
      },
    });
    queue.splice(0, queue.length - MOST_QUEUED);
    save();
    return flush();
  }

  function save() {
    if (mayKeep()) attempt(() => sessionStorage.setItem(QUEUE, JSON.stringify(queue)));
  }

  const address = (path) => `${base + path}?api_key=${encodeURIComponent(settings.key)}`;
  const EVENTS = address("interactions");

  // A string goes as text/plain, which needs no preflight.
  async function post(url, content) {
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), PATIENCE_MS);
    const body = JSON.stringify(content);
    const keepalive = url === EVENTS && body.length < MOST_KEEPALIVE;
    try {
      return await fetch(url, { method: "POST", body, keepalive, credentials: "omit", signal: abort.signal });
    } finally {
      clearTimeout(timer);
    }
  }

  const flush = () => sending || (sending = drain());

  async function drain() {
    try {
      await 0; // what the page tells in one turn goes as one batch
      while (queue.length && !paused && !gone) {
        const data = queue.slice(0, BATCH);
        const answer = await post(EVENTS, { data }).catch(() => 0);
        if (!answer || answer.status > 499 || answer.status === 429 || answer.status === 408) return pause(answer);
        failures = 0;
        queue = queue.filter((one) => !data.includes(one));
        save();
        if (!answer.ok) answer.json().then(warn, warn);
        acknowledged(data);
      }
    } finally {
      sending = 0;
    }
  }

  function pause(answer) {
    const asked = answer && answer.headers.get("Retry-After");
    const backoff = Math.min(LONGEST_PAUSE_S, 2 ** failures++) * (1 + Math.random() / 4);
    paused = true;
    setTimeout(resume, (asked > 0 ? asked : backoff) * 1000);
  }

  function resume() {
    paused = false;
    flush();
  }

  // A beacon gives no answer, so what it held stays queued for this page or the tab's next one.
  function leave() {
    gone = true;
    tellSeen();
    tellLeft();
    const fresh = queue.filter((one) => !beaconed.has(one));
    while (fresh.length) {
      const data = fresh.splice(0, BATCH);
      if (navigator.sendBeacon(EVENTS, JSON.stringify({ data }))) data.forEach((one) => beaconed.add(one));
    }
  }

  // the product of the page -----------------------------------------------------------------------

  let product, seconds = 0, since = 0, furthest = 0, looking;

  // The seconds in which the page was seen and had the focus.
  function clock() {
    const now = performance.now() / 1000;
    if (since) seconds += now - since;
    since = gone || document.hidden || !document.hasFocus() ? 0 : now;
  }

  function scrolled() {
    const share = (scrollY + innerHeight) / document.documentElement.scrollHeight;
    furthest = Math.max(furthest, Math.min(1, share));
  }

  // As the fields that name it, in JSON. Several are a list of products, not the page of one.
  function pageProduct() {
    const marked = new Set(all("[data-product-id]:not([data-attune])").map((one) => one.dataset.productId));
    const found = new Set();
    if (settings.productId || marked.size === 1) add(found, "product_ids", settings.productId || [...marked][0]);
    else for (const one of all("script[type='application/ld+json']")) attempt(() => collect(JSON.parse(one.textContent), found));
    return found.size === 1 ? [...found][0] : undefined;
  }

  const add = (found, field, id) => id && found.add(JSON.stringify({ [field]: [String(id)] }));

  function collect(node, found) {
    if (Array.isArray(node)) node.forEach((one) => collect(one, found));
    else if (node) {
      const type = String(node["@type"]);
      if (/Product\b/.test(type)) add(found, "product_ids", node[words(IDS).find((name) => node[name])]);
      if (/ProductGroup\b/.test(type)) add(found, "product_group_ids", node.productGroupID);
      collect(node["@graph"], found);
      collect(node.mainEntity, found);
    }
  }

  function look() {
    looking = 0;
    if (document.readyState === "loading") return;
    const found = document.hidden ? product : pageProduct();
    if (found !== product) {
      tellLeft();
      product = found;
      seconds = furthest = 0;
      if (found) track("product_detail_page_view", JSON.parse(found));
    }
    all("[data-attune]").forEach(show);
  }

  const lookSoon = () => (looking = looking || setTimeout(look, 100));

  // Said inside the context: as product_ids it would be a second interest beside the view's.
  function tellLeft() {
    clock();
    scrolled();
    if (!product || seconds < 0.1) return;
    const custom_context = { ...JSON.parse(product), duration: +seconds.toFixed(1), scroll: +furthest.toFixed(2) };
    seconds = 0;
    track("custom", { custom_action_name: "page_left", context: { custom_context } });
  }

  // lists -----------------------------------------------------------------------------------------

  const shown = new WeakMap(); // element → its list
  const about = new WeakMap(); // item → the fields of its click and impression
  const timers = new WeakMap();
  let seen = {};

  // What is told reaches the list, unless that takes long.
  const told = () => Promise.race([flush(), new Promise((done) => setTimeout(done, 1000))]);

  async function ask(kind, fields) {
    await told();
    const body = { anonymous_id: whoIsIt(), ...(user.user_hash && user), fl: FIELDS, ...fields };
    const answer = await post(address(LISTS[kind][0]), body);
    const said = await answer.json();
    if (!answer.ok) throw Error(said.message);
    return said.data;
  }

  function recommend(options) {
    const { list, ...fields } = options || {};
    return ask(list || (/"product_/.test(JSON.stringify(fields)) ? "similar" : "recommend"), fields);
  }

  function search(q, options) {
    const { track: telling = true, ...fields } = options || {};
    if (telling) track("search", { search: { keywords: q } });
    return ask("search", { q, enable_semantic_search: true, ...fields });
  }

  function show(element) {
    const { attune } = element.dataset;
    const asked = JSON.stringify([element.dataset, attune === "similar" && product]);
    const list = shown.get(element) || { before: [...element.childNodes], turn: 0 };
    if (!LISTS[attune] || list.asked === asked) return;
    list.asked = asked;
    shown.set(element, list);
    load(element, list);
  }

  async function load(element, list) {
    const { attune, rows = 6, fq, fields, query, productId } = element.dataset;
    const more = {
      search: { q: query, enable_semantic_search: true },
      similar: productId ? { product_id: productId } : product && JSON.parse(product),
    }[attune];
    const turn = ++list.turn;
    // An empty place shows that something comes, the page's own content stays until there is better.
    if (!element.children[0] && !element.textContent.trim()) element.append(waiting(+rows, words(fields)));
    element.setAttribute("aria-busy", "true");
    list.waits = true;
    await told();
    list.waits = false;
    const data = await ask(attune, { rows: +rows, fq, fl: FIELDS.concat(words(fields)), ...more }).catch(warn);
    if (turn !== list.turn) return;
    if (data && data.products.length) render(element, data);
    else if (data || element.querySelector(".attune-wait")) element.replaceChildren(...list.before);
    element.removeAttribute("aria-busy");
  }

  function acknowledged(batch) {
    if (batch.every((one) => one.type === "viewable_impression" || one.custom_action_name === "page_left")) return;
    for (const one of all("[data-live]")) if (shown.has(one) && !shown.get(one).waits) load(one, shown.get(one));
  }

  function make(name, kind, ...inside) {
    const made = document.createElement(name);
    made.className = "attune-" + kind;
    made.append(...inside);
    return made;
  }

  function waiting(rows, fields) {
    const items = Array(rows || 1).fill().map(() => make("li", "item", card({ title: " " }, fields)));
    const list = make("ul", "list attune-wait", ...items);
    list.setAttribute("aria-hidden", "true");
    return list;
  }

  function render(element, { products, miso_id }) {
    const { attune, label, fields, currency } = element.dataset;
    const list = make("ul", "list");
    list.setAttribute("role", "list"); // Safari takes it away with the bullets
    list.setAttribute("aria-label", label || LISTS[attune][1]);
    for (const one of products) {
      const item = make("li", "item", card(one, words(fields), currency || settings.currency));
      about.set(item, { product_ids: [one.product_id], miso_id });
      if (watcher) watcher.observe(item);
      list.append(item);
    }
    list.onclick = list.onauxclick = clicked;
    const at = [...element.querySelectorAll("a")].indexOf(document.activeElement);
    element.replaceChildren(list);
    if (at >= 0) (list.querySelectorAll("a")[at] || list.querySelector("a")).focus({ preventScroll: true });
  }

  function card(one, fields, currency) {
    const { title, url, cover_image, original_price: before, sale_price: now = before } = one;
    const name = title || one.product_id;
    // Where there is no picture; a title says it already to those who hear the page.
    const initial = [...name][0];
    const picture = make("span", "picture", initial);
    picture.ariaHidden = true;
    const src = link(cover_image);
    if (src) {
      const image = make("img", "image");
      // Its text stands beside it, in the same link.
      Object.assign(image, { alt: "", loading: "lazy", decoding: "async", width: 320, height: 320, src });
      image.onerror = () => image.replaceWith(initial);
      picture.replaceChildren(image);
    }
    const href = link(url);
    const made = make(href ? "a" : "span", "card", picture, make("span", "title", name));
    for (const name of fields) made.append(make("span", "field", one[name] == null ? "" : one[name]));
    const price = make("span", "price", now == null ? "" : money(now, currency));
    if (before > now) price.append(" ", make("s", "was", money(before, currency)));
    made.append(price);
    if (href) made.href = href;
    return made;
  }

  function link(text) {
    const url = attempt(() => new URL(text, location.href));
    return text && url && /^https?:$/.test(url.protocol) && url.href;
  }

  function money(value, currency) {
    const form = currency ? { style: "currency", currency } : { minimumFractionDigits: 2 };
    return attempt(() => value.toLocaleString(document.documentElement.lang || [], form)) || value;
  }

  function clicked(event) {
    const item = event.target.closest("li");
    if (item && event.button < 2) track("click", about.get(item));
  }

  const watcher = window.IntersectionObserver && new IntersectionObserver((entries) => {
    for (const { target, intersectionRatio } of entries) {
      clearTimeout(timers.get(target));
      if (intersectionRatio >= 0.5) timers.set(target, setTimeout(saw, 1000, target));
    }
  }, { threshold: 0.5 });

  function saw(item) {
    if (document.hidden) return timers.set(item, setTimeout(saw, 1000, item));
    watcher.unobserve(item);
    const { product_ids, miso_id } = about.get(item);
    if (!seen[miso_id]) setTimeout(tellSeen, 200);
    seen[miso_id] = (seen[miso_id] || []).concat(product_ids);
  }

  function tellSeen() {
    const all = seen;
    seen = {};
    for (const miso_id of Object.keys(all)) track("viewable_impression", { product_ids: all[miso_id], miso_id });
  }

  // One class each, so that a shop's rule with two wins: `.shop .attune-title { … }`.
  const STYLES = `
.attune-list{display:flex;gap:var(--attune-gap,1rem);margin:0;padding:.25rem;list-style:none;overflow-x:auto;scrollbar-width:thin}
[data-attune=search]>.attune-list{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(var(--attune-card,11rem),45%),1fr))}
.attune-item{flex:0 1 var(--attune-card,11rem);min-width:calc(var(--attune-card,11rem)*.85);margin:0}
.attune-card{display:flex;flex-direction:column;gap:.3rem;color:inherit;text-decoration:none;font-size:.9375rem;line-height:1.35}
.attune-picture{display:grid;grid:100%/100%;place-items:center;font-size:2em;aspect-ratio:var(--attune-ratio,1);overflow:hidden;border-radius:var(--attune-radius,.5rem);background:var(--attune-shade,rgb(127 127 127/.12))}
.attune-image{width:100%;height:100%;object-fit:var(--attune-fit,cover)}
.attune-title{display:-webkit-box;-webkit-box-orient:vertical;-webkit-line-clamp:2;overflow:hidden;height:2.7em;overflow-wrap:anywhere}
.attune-field,.attune-price{height:1.35em;overflow:hidden;white-space:nowrap;text-overflow:ellipsis}
.attune-price{font-weight:600}
.attune-was{font-weight:400;opacity:.75}
a:hover>.attune-title{text-decoration:underline}
.attune-card:focus-visible{outline:2px solid;outline-offset:2px;border-radius:var(--attune-radius,.5rem)}
@media(prefers-reduced-motion:no-preference){.attune-wait{animation:attune-wait 1s infinite alternate}}
@keyframes attune-wait{to{opacity:.4}}`;

  function dress() {
    if (document.adoptedStyleSheets) {
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(STYLES);
      document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
    } else document.head.append(Object.assign(make("style", "style", STYLES), { nonce: script.nonce }));
  }

  // start -----------------------------------------------------------------------------------------

  function push(command) {
    try {
      if (typeof command === "function") return command(api);
      const [name, ...values] = command;
      return api[name](...values);
    } catch (error) {
      warn(error);
    }
  }

  function start() {
    dress();
    look();
    new MutationObserver(lookSoon).observe(document, {
      subtree: true,
      childList: true,
      characterData: true,
      attributeFilter: ["data-attune", "data-product-id", "data-query", "data-fq", "data-rows"],
    });
  }

  function back() {
    gone = false;
    clock();
    flush();
    look();
  }

  const api = (window.attune = { track, identify, visitor, recommend, search, consent, reset, push });
  if (settings.consent === "granted" || navigator.globalPrivacyControl) consent(settings.consent === "granted");
  if (Array.isArray(early)) early.forEach(push);
  clock();
  addEventListener("focus", clock);
  addEventListener("blur", clock);
  addEventListener("scroll", scrolled, { passive: true });
  addEventListener("online", resume);
  addEventListener("pagehide", leave);
  addEventListener("pageshow", (event) => event.persisted && back((product = 0))); // viewed once more
  document.addEventListener("visibilitychange", () => (document.hidden ? leave() : back()));
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
