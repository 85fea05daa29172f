// Draws a picture for a product that has none: a shape for what it is, in the colour and on the
// pattern that its title names. The same product always looks the same.

const SVG = "http://www.w3.org/2000/svg";

// Colour words of a title as hue and chroma of OKLCH; the page's style sheet chooses lightness.
const COLOURS = [
  [/\bruby|cherry|\bred\b/, 25, 1],
  [/fu[cs]*hsia|rose|pink|raspberry/, 0, 1],
  [/orange|amber|copper|peach/, 60, 1],
  [/yellow|lemon|gold|ochre/, 90, 1],
  [/green|mint|olive|fern|lime|woodland/, 145, 0.9],
  [/turquoise|aqua|teal/, 195, 0.9],
  [/blue|navy|sky/, 250, 1],
  [/purple|lilac|lavender|violet|amethyst/, 305, 1],
  [/chocolate|brown|wood|wicker|rustic/, 55, 0.55],
  [/ivory|cream|natural|vintage|antique/, 80, 0.4],
  [/black|white|silver|zinc|grey|metal|jet\b|slate/, 270, 0.08],
];

const PATTERNS = [
  ["dots", /retrospot|polka ?dot|spot|dotty/],
  ["stripes", /strip/],
  ["checks", /gingham|check|tartan|union jack|scandinavian/],
  ["hearts", /heart|love/],
  ["stars", /\bstar|spaceboy|circus|snowflake/],
  ["petals", /flower|rose\b|daisy|paisley|blossom|floral|botanical|leaf/],
];

// [things, motifs, path]. A thing that the title names decides, the last one where there are several;
// else a thing that the category names; else a motif of either. Paths lie on a field of 48 × 48.
const SHAPES = [
  ["teapot|tea pot|tea cosy", "", "M13 24c0-6 5-10 11-10s11 4 11 10-4 10-11 10-11-4-11-10Zm22-1c4-1 4-6 8-6M13 22c-6-2-7 6-1 9M21 14c0-4 6-4 6 0M14 37h20"],
  ["mug|cup|beaker|teacup|saucer|tea set|tea & coffee|sugar bowl", "tea|coffee|cafe", "M12 15h20v14a7 7 0 0 1-7 7h-6a7 7 0 0 1-7-7Zm20 4h3a5 5 0 0 1 0 10h-3M18 10c0-2 2-2 2-4m5 4c0-2 2-2 2-4"],
  ["cake tin|cake case|cake stand|cakestand|cookie|cutter|baking|mould|cake|whisk|measuring jug", "muffin|biscuit|pudding|cupcake", "M11 25h26l-3 13H14Zm0 0c-3-6 4-8 5-8 0-6 6-8 8-8s8 2 8 8c1 0 8 2 5 8M19 25l1 13m9-13-1 13M24 9V6"],
  ["plate|bowl|dish|tray|pan|jug|cutlery|spoon|fork|napkin|doilies|tableware|place setting|placemat|coaster|straw", "doily|kitchen|diner|breakfast", "M24 12a12 12 0 1 0 0 24 12 12 0 0 0 0-24Zm0 6a6 6 0 1 0 0 12 6 6 0 0 0 0-12ZM7 10v7c0 4 4 4 4 0v-7M9 20v18M41 10c-4 2-4 12 0 12v16"],
  ["hot water bottle|hand warmer|warmer|warmth|slipper|sock", "", "M19 6h10v6c6 1 7 4 7 9v14a6 6 0 0 1-6 6H18a6 6 0 0 1-6-6V21c0-5 1-8 7-9Zm0 6h10M24 33c-9-6-4-11 0-7 4-4 9 1 0 7Z"],
  ["bottle|glass|goblet|tumbler|flask|glassware", "wine|beer", "M21 6h6v8c0 4 4 5 4 10v14a3 3 0 0 1-3 3h-8a3 3 0 0 1-3-3V24c0-5 4-6 4-10Zm-4 20h14"],
  ["lunch bag|lunch box|picnic|hamper|basket|cool bag", "", "M9 20h30l-2 18H11Zm5 0c0-14 20-14 20 0M9 20h30M18 26v6m6-6v6m6-6v6"],
  ["apron|towel|glove|flannel", "", "M17 7v7c0 5-6 5-6 10v16h26V24c0-5-6-5-6-10V7m-14 6h14M18 28h12v6H18Z"],
  ["candle|candle plate|candle pot|candlestick|candleholder|t light|t light holder|tealight|lantern|incense|votive|fragrance|chandelier t light", "scent|vanilla|lavender", "M18 24h12v17H18Zm6-16c5 6 4 11 0 11s-5-5 0-11Zm0 11v5M13 41h22"],
  ["lamp|light|lighting|lampshade|chandelier|torch", "", "M17 9h14l6 15H11Zm7 15v14m-8 3h16M31 24v5"],
  ["clock|timer", "", "M24 8a16 16 0 1 0 0 32 16 16 0 0 0 0-32Zm0 7v9l6 4"],
  ["frame|mirror|photo|album|picture", "", "M10 8h28v32H10Zm6 6h16v20H16Zm0 14 6-6 5 5 3-3 2 2"],
  ["sign|tile|block word|wall art|block|flag|letter|plaque|slate|blackboard|chalkboard", "number|keep calm", "M9 18h30v18H9Zm5 0L24 8l10 10M15 25h18M15 30h11"],
  ["cushion|throw|pillow|quilt|rug|mat|doormat|doorstop|kneeling pad", "", "M11 12c8 3 18 3 26 0-2 8-2 16 0 24-8-3-18-3-26 0 2-8 2-16 0-24Zm9 12a4 4 0 1 0 8 0 4 4 0 0 0-8 0Z"],
  ["cabinet|drawer|shelf|chest|box|crate|storage|table|chair|stool|bin", "", "M10 10h28v28H10Zm0 14h28M21 17h6m-6 14h6M14 38v4m20-4v4"],
  ["hook|hanger|knob|peg|rack", "", "M9 10h30v7H9Zm9 7v13a4 4 0 0 1-8 0m26-13v13a4 4 0 0 1-8 0"],
  ["soap|bathroom|sponge|washbag|bath", "", "M8 24h32v5a9 9 0 0 1-9 9H17a9 9 0 0 1-9-9Zm5 0V13c0-5 7-5 7 0M15 38v3m18-3v3M29 16v.1M34 12v.1M33 19v.1"],
  ["umbrella|parasol", "rain", "M24 9C14 9 8 17 8 25c3-3 6-3 8 0 2-3 6-3 8 0 2-3 6-3 8 0 2-3 5-3 8 0 0-8-6-16-16-16Zm0-3v3m0 16v12c0 5-7 5-7 0"],
  ["purse|handbag|wallet|clutch|cosmetic bag", "", "M9 18h30v20H9Zm0 8h30M24 24v4M16 18c0-11 16-11 16 0"],
  ["bag|shopper|sack|tote|backpack|rucksack", "", "M11 17h26l2 24H9Zm6 5v-8c0-9 14-9 14 0v8"],
  ["passport|luggage|travel|key ring|keyring|suitcase", "holiday", "M12 14h24v26H12Zm6 0V8h12v6M19 14v26m10-26v26"],
  ["necklace|pendant|choker|locket", "bead", "M10 8c0 16 6 22 14 22S38 24 38 8M24 30l-5 6 5 6 5-6Z"],
  ["earring|charm|phone charm", "", "M17 8c-4 0-4 6 0 6v6m0 0-5 8 5 8 5-8ZM33 8c-4 0-4 6 0 6v6m0 0-5 8 5 8 5-8Z"],
  ["bracelet|bangle|ring|brooch|jewellery|badge", "diamante", "M24 18a11 11 0 1 0 0 22 11 11 0 0 0 0-22Zm-5-2-4-6 4-4h10l4 4-4 6"],
  ["hair|hairband|hairclip|hair clip|scarf|hat|clothing", "bow", "M24 24c-4-8-16-12-16-2s12 10 16 2Zm0 0c4-8 16-12 16-2s-12 10-16 2Zm-2 4-5 12m9-12 5 12"],
  ["notebook|book|journal|sketchbook|diary|calendar|shopping list", "", "M13 7h22a2 2 0 0 1 2 2v32H13a3 3 0 0 1-3-3V10a3 3 0 0 1 3-3Zm4 0v34M23 16h8m-8 6h5"],
  ["pencil|pen|crayon|rubber|eraser|chalk|ruler|sharpener", "", "m10 38 2-9L32 9l7 7-20 20Zm2-9 7 7M28 13l7 7"],
  ["card|envelope|invite|postcard|writing set|notelet", "", "M8 13h32v23H8Zm0 1 16 13 16-13"],
  ["wrap|ribbon|gift|tissue|tape|gift tag|gift bag", "present", "M10 18h28v22H10Zm-2-6h32v6H8Zm16 0v28M24 12c-3-8-12-7-9-1 1 1 9 1 9 1Zm0 0c3-8 12-7 9-1-1 1-9 1-9 1Z"],
  ["sticker|stamp|craft|sewing kit|knitting|stencil|patch|patches|feltcraft|paper chain kit", "felt", "M19 13a5 5 0 1 0 0 .1Zm0 22a5 5 0 1 0 0 .1ZM18 16l20 19M18 32l20-19"],
  ["balloon|bunting|garland|confetti|party|parties", "birthday", "M6 12c10 8 26 8 36 0M11 15l2 12 7-9m1 0 3 13 4-13m1 0 6 9 3-12"],
  ["game|puzzle|jigsaw|playing card|domino|skittle|ludo", "", "M10 10h12v4c-4 2-4 6 0 6s4 0 4-4v-6h12v12h-4c-4-4-6 0-6 2s2 4 6 2h4v12H10Z"],
  ["doll|teddy|puppet|soft toy|toy|robot|nursery", "rabbit|bunny|bear|babushka|dolly", "M24 15a11 10 0 1 0 .1 0ZM16 17c-6-1-6-9 0-8 3 0 4 3 4 6m12 2c6-1 6-9 0-8-3 0-4 3-4 6M20 24v.1m8-.1v.1M21 29c2 2 4 2 6 0"],
  ["bird house|birdhouse|bird feeder|birds & wildlife", "bird|hen|chick|owl|dove|duck", "M8 22c8 2 8-10 17-10 6 0 8 4 8 8l6 2-6 3c0 8-6 12-13 12-6 0-11-5-12-15Zm20-4v.1M17 37v4m6-4v4"],
  ["plant pot|planter|watering can|herb|herb marker|garden|plants & pots|windmill|gnome", "plant", "M14 26h20l-3 15H17Zm10 0V14m0 4c-2-8-11-8-11-8 0 8 6 9 11 8Zm0-2c2-8 11-7 11-7 0 8-6 9-11 7"],
  ["artificial flower|art flower|bouquet|artificial flowers", "flower|rose|daisy|blossom|posy", "M24 14c-3-8 6-8 3 0 6-6 10 3 2 5 8 1 4 9-2 5 2 8-7 8-4 0-6 5-10-4-2-5-8-2-4-10 3-5Zm0 12v16m0-6c4-5 8-5 9-5-1 5-5 6-9 5"],
  ["christmas tree|bauble", "christmas|tree|easter", "M24 6 14 19h5l-8 10h6l-7 8h28l-7-8h6l-8-10h5Zm0 31v5"],
  ["", "heart|sweetheart|love", "M24 39C4 26 10 10 18 10c4 0 6 4 6 6 0-2 2-6 6-6 8 0 14 16-6 29Z"],
  ["", "star|snow|spaceboy", "m24 8 5 11 12 1-9 8 3 12-11-6-11 6 3-12-9-8 12-1Z"],
  ["tin|jar|caddy|container|canister", "", "M12 16h24v20a4 4 0 0 1-4 4H16a4 4 0 0 1-4-4Zm-2-7h28v7H10Zm7 15h14v8H17Z"],
  ["magnet|chopping board|board|kitchen storage|tidy|bucket", "", "M12 9h8v15a4 4 0 0 0 8 0V9h8v15a12 12 0 0 1-24 0Zm0 7h8m8 0h8"],
  ["ornament", "hanging|decoration|home", "M24 6v8m-3 0h6v4h-6Zm3 4a11 11 0 1 0 .1 0ZM14 27c6 4 14 4 20 0"],
].map(([things, motifs, path]) => ({ things: words(things), motifs: words(motifs), path }));

/** An SVG element for a product {product_id, title, categories}. */
export function picture(product) {
  const title = (product.title ?? product.product_id).toLowerCase();
  const category = (product.categories?.[0] ?? []).join(", ").toLowerCase();
  const [hue, chroma] = colour(title, category || title);
  const svg = drawing("svg", { viewBox: "0 0 96 72", "aria-hidden": "true", class: "picture" });
  svg.style.setProperty("--hue", hue);
  svg.style.setProperty("--chroma", chroma);
  svg.append(drawing("rect", { width: 96, height: 72, class: "ground" }));
  const pattern = PATTERNS.find(([, words]) => words.test(title))?.[0];
  if (pattern) svg.append(...motif(pattern, hash(product.product_id)));
  svg.append(drawing("circle", { cx: 48, cy: 36, r: 25, class: "halo" }));
  const shape = last(title, "things") ?? last(category, "things") ?? last(title, "motifs") ?? last(category, "motifs");
  svg.append(shape ? thing(shape) : monogram(product.title ?? product.product_id));
  return svg;
}

function thing({ path }) {
  return drawing("path", { d: path, class: "thing", transform: "translate(26 14) scale(.917)" });
}

/** The shape whose word ends last, before the shorter word: of "Tea Towel With Roses" the towel. */
function last(text, kind) {
  const head = text.replaceAll("t-light", "t light").split(/ with | in | for | w /)[0];
  let best;
  for (const shape of SHAPES) {
    for (const { index, 0: word } of head.matchAll(shape[kind])) {
      const end = index + word.length;
      if (!best || end > best.end || (end === best.end && word.length > best.length)) {
        best = { shape, end, length: word.length };
      }
    }
  }
  return best?.shape;
}

/** Any of the words, plural or not; a longer one before the shorter. */
function words(list) {
  const all = list.split("|").filter(Boolean).sort((a, b) => b.length - a.length);
  return new RegExp(all.length ? `\\b(?:${all.join("|")})(?:s|es)?\\b` : "(?!)", "g");
}

function monogram(title) {
  const text = drawing("text", { x: 48, y: 36, class: "monogram" });
  text.textContent = (title.match(/[\p{L}\p{N}]/u)?.[0] ?? "·").toUpperCase();
  return text;
}

/** What the title says; else one of its category, so that a shelf looks like one, a little varied. */
function colour(title, kind) {
  const named = COLOURS.find(([words]) => words.test(title));
  return named ? named.slice(1) : [(hash(kind) + (hash(title) % 70)) % 360, 0.7];
}

const MOTIFS = {
  dots: "M0 2a2 2 0 1 0 0-4 2 2 0 0 0 0 4Z",
  hearts: "M0 3C-6-1-3-5 0-2.5 3-5 6-1 0 3Z",
  stars: "m0-3.5 1 2.3 2.5.2-1.9 1.7.6 2.5L0 1.9l-2.200 1.300.6-2.5-1.9-1.7 2.5-.2Z",
  petals: "M0 0c-4-5 4-5 0 0Zm0 0c4 5-4 5 0 0Zm0 0c-5 4-5-4 0 0Zm0 0c5-4 5 4 0 0Z",
};

function motif(name, seed) {
  if (name === "stripes") return lines(seed % 2 ? [1, 0] : [0, 1]);
  if (name === "checks") return [...lines([1, 0]), ...lines([0, 1])];
  const marks = [];
  for (let row = 0; row < 6; row++) {
    for (let column = 0; column < 8; column++) {
      const x = column * 14 + (row % 2 ? 7 : 0);
      marks.push(drawing("path", { d: MOTIFS[name], class: "mark", transform: `translate(${x} ${row * 14 + 1})` }));
    }
  }
  return marks;
}

function lines([across, down]) {
  return Array.from({ length: 9 }, (_, number) => {
    const at = number * 12;
    return drawing("path", { d: down ? `M0 ${at}H96` : `M${at} 0V72`, class: `line line-${across}` });
  });
}

/** FNV-1a, so that a look never changes. */
function hash(text) {
  let value = 0x811c9dc5;
  for (const letter of text) value = Math.imul(value ^ letter.codePointAt(0), 0x01000193) >>> 0;
  return value;
}

/** An element of SVG. */
export function drawing(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
