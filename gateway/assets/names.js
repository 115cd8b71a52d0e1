// Shows what the three protocols call one address.

import { byId, element } from "./dom.js";
import { namesOf } from "./address.js";

/** Rows for a `dl`, as `namesOf` gives them. */
export const nameRows = (names) =>
  names.map(([protocol, name, remark]) =>
    element(
      "div",
      { class: protocol.toLowerCase() },
      element("dt", {}, protocol),
      element("dd", {}, element("code", {}, name), remark ? element("span", { class: "remark" }, remark) : null),
    ),
  );

/** Fills the list `id`, or hides it while there is no address. */
export function showNames(id, address, isFilter) {
  const list = byId(id);
  list.hidden = !address;
  list.replaceChildren(...(address ? nameRows(namesOf(address, isFilter)) : []));
}
