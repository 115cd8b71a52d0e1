// Chooses light or dark before the first paint, and keeps what the toggle chose. It stands in the
// head as a plain script because a module would run after the page has flashed in the wrong colours.

"use strict";

(() => {
  const KEY = "trivium-theme";
  const system = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;

  // Storage may be forbidden; then the choice lasts as long as the page.
  const load = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null;
    }
  };
  const store = (theme) => {
    try {
      if (theme) localStorage.setItem(KEY, theme);
      else localStorage.removeItem(KEY);
    } catch {
      // As above.
    }
  };

  const systemTheme = () => (system.matches ? "dark" : "light");
  let chosen = load();

  function apply() {
    root.dataset.theme = chosen === "dark" || chosen === "light" ? chosen : systemTheme();
    const toggle = document.getElementById("theme");
    if (toggle) toggle.setAttribute("aria-pressed", String(root.dataset.theme === "dark"));
  }

  apply();
  system.addEventListener("change", apply);
  document.addEventListener("DOMContentLoaded", () => {
    apply();
    document.getElementById("theme").addEventListener("click", () => {
      const other = root.dataset.theme === "dark" ? "light" : "dark";
      // Back at what the system says, the page follows the system again.
      chosen = other === systemTheme() ? null : other;
      store(chosen);
      apply();
    });
  });
})();
