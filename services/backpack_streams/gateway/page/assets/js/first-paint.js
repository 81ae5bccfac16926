// Runs before the first paint, so that a dark page does not flash in light. The rest of the theme is in theme.js.

{
  const chosen = localStorage.getItem("backpack-streams-theme") ?? "system";
  const isDark = chosen === "dark" || (chosen === "system" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = isDark ? "dark" : "light";
}
