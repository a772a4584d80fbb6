"use strict";
SwaggerUIBundle({
  url: "/api/openapi.json",
  dom_id: "#swagger-ui",
  // A link of its own inside the button that unfolds an operation: one control in another.
  deepLinking: false,
  validatorUrl: null,
});

// What the page draws as it is unfolded lacks names and cannot be reached with the keyboard.
const named = [
  [".examples-select-element", "Example"],
  [".content-type", "Media type"],
  [".parameters select", "Value of the parameter"],
  [".servers select", "Server"],
  ["select", "Choice"],
  [".parameters input", "Value of the parameter"],
  ["textarea", "Body of the request"],
];
function mend() {
  for (const [selector, words] of named) {
    for (const field of document.querySelectorAll(selector)) {
      if (!field.hasAttribute("aria-label") && !field.labels?.length) {
        field.setAttribute("aria-label", words);
      }
    }
  }
  for (const box of document.querySelectorAll("pre, .table-container, .json-schema-2020-12-body")) {
    if (!box.hasAttribute("tabindex")) box.setAttribute("tabindex", "0");
  }
}
new MutationObserver(mend).observe(document.getElementById("swagger-ui"), {
  childList: true,
  subtree: true,
});
