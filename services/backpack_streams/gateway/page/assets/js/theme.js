// Light or dark: as the system says, or as the reader chose.

import { Events } from "./events.js";

const NAME = "backpack-streams-theme";
const CHOICES = ["system", "light", "dark"];
const system = matchMedia("(prefers-color-scheme: dark)");

export const theme = new Events();

const chosen = () => localStorage.getItem(NAME) ?? "system";

export const isDark = () => document.documentElement.dataset.theme === "dark";

function show() {
  const choice = chosen();
  const dark = choice === "dark" || (choice === "system" && system.matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  document.querySelector("meta[name=theme-color]").content = dark ? "#0d1117" : "#f5f6f8";
  for (const button of document.querySelectorAll("[data-theme-choice]")) {
    button.setAttribute("aria-pressed", String(button.dataset.themeChoice === choice));
  }
  theme.tell("changed");
}

export function startTheme() {
  for (const button of document.querySelectorAll("[data-theme-choice]")) {
    button.onclick = () => {
      if (CHOICES.includes(button.dataset.themeChoice)) localStorage.setItem(NAME, button.dataset.themeChoice);
      show();
    };
  }
  system.addEventListener("change", show);
  show();
}

/** The value of a colour of the style sheet, for what is drawn on a canvas. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
