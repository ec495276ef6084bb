// Category Conditioning: a list of the connected file's categories beside the free text, and what the text was taken for.
import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";

const CONDITIONING = "PBG_CategoryConditioning";
const LOADER = "PBG_LoadCategoryWeights";

const widgetOf = (node, name) => node?.widgets?.find((widget) => widget.name === name);

// Calls `after` whenever object[name] was called; what was there before still runs.
function follow(object, name, after) {
  const before = object[name];
  object[name] = function (...args) {
    const result = before?.apply(this, args);
    after(...args);
    return result;
  };
}

// The loader that feeds the input "weights", through any reroutes; undefined where it can't be seen (a subgraph's input).
function loaderOf(node) {
  let slot = node.inputs?.findIndex((input) => input.name === "weights") ?? -1;
  let origin = slot < 0 ? null : node.getInputNode?.(slot);
  for (let hops = 0; origin?.type === "Reroute" && hops < 64; hops++) origin = origin.getInputNode(0);
  return (origin?.comfyClass ?? origin?.type) === LOADER ? origin : undefined;
}

function equip(node) {
  const text = widgetOf(node, "category");
  if (!text || widgetOf(node, "known categories")) return;
  // Neither of the two is saved: old graphs keep their values, and the API graph has only what the node knows.
  const options = { values: [], serialize: false };
  const list = node.addWidget("combo", "known categories", "", (name) => (text.value = name), options);
  const chosen = node.addWidget("text", "chosen", "", () => {}, { serialize: false });
  list.serialize = chosen.serialize = false;
  chosen.disabled = true;

  let asked = 0;
  async function refresh() {
    const loader = loaderOf(node);
    if (loader && !loader.pbgFollowed) {
      loader.pbgFollowed = true;
      const weights = widgetOf(loader, "weights_name");
      if (weights) follow(weights, "callback", () => loader.pbgRefresh?.());
    }
    if (loader) loader.pbgRefresh = () => app.graph?.nodes?.forEach((other) => other.pbgRefreshCategories?.());
    const file = widgetOf(loader, "weights_name")?.value;
    const query = new URLSearchParams({ weights: file ?? "", near: text.value ?? "" });
    const number = ++asked;
    let answer = { names: [], chosen: null };
    if (file) {
      const response = await api.fetchApi(`/product_background/categories?${query}`);
      answer = response.ok ? await response.json() : { names: [], chosen: null, error: (await response.json()).error };
    }
    if (number !== asked) return; // a later question is under way
    list.options.values = answer.names;
    list.value = answer.names.includes(text.value) ? text.value : "";
    chosen.value = answer.chosen ?? answer.error ?? (text.value && file ? "no category is near" : "");
    node.setDirtyCanvas?.(true, true);
  }
  const quietly = () => refresh().catch((error) => console.warn("Product Background:", error));

  node.pbgRefreshCategories = quietly;
  follow(text, "callback", quietly);
  follow(list, "callback", quietly);
  follow(node, "onConnectionsChange", quietly);
  follow(node, "onConfigure", () => setTimeout(quietly)); // links are laid after a graph's nodes
  follow(node, "onExecuted", (output) => {
    if (output?.text?.[0]) chosen.value = output.text[0];
    node.setDirtyCanvas?.(true, true);
  });
  quietly();
}

app.registerExtension({
  name: "product_background.category",
  nodeCreated(node) {
    if (node.comfyClass === CONDITIONING) equip(node);
  },
});
