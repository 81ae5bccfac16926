// The reader's API key: asked for when the gateway wants one, kept for this tab only, never in an address.

import { byId, setHidden, setText } from "./dom.js";

const NAME = "backpack-streams-key";
let asking = null;

export const currentKey = () => sessionStorage.getItem(NAME) ?? "";

/** Opens the dialog; resolves with the key that the reader gave. One dialog, however many ask. */
export function askForKey(why) {
  asking ??= new Promise((resolve) => {
    const dialog = byId("key-dialog");
    const field = byId("key-field");
    setText(byId("key-why"), why);
    setHidden(byId("key-wrong"), !currentKey());
    dialog.showModal();
    field.value = "";
    byId("key-form").onsubmit = (event) => {
      event.preventDefault();
      const key = field.value.trim();
      if (!key) return field.focus();
      sessionStorage.setItem(NAME, key);
      dialog.close();
      asking = null;
      return resolve(key);
    };
    dialog.oncancel = (event) => event.preventDefault();
  });
  return asking;
}
