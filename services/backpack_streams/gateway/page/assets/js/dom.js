// Writing into the document, only where something changed: what is the same costs no layout.

export const byId = (id) => document.getElementById(id);

/** An element with its class, its text and its children. */
export function make(tag, className = "", content = "", ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (content) element.textContent = content;
  element.append(...children);
  return element;
}

export function setText(element, value) {
  const node = element.firstChild;
  if (node === null) element.append(value);
  else if (node.data !== value) node.data = value;
}

export function setAttribute(element, name, value) {
  if (value === null || value === undefined) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

export function setData(element, name, value) {
  if (element.dataset[name] !== value) element.dataset[name] = value;
}

export function setHidden(element, isHidden) {
  if (element.hidden !== isHidden) element.hidden = isHidden;
}

/** A custom property, set through the object model as the content security policy wants it. */
export function setProperty(element, name, value) {
  const known = (element.properties ??= {});
  if (known[name] === value) return;
  known[name] = value;
  element.style.setProperty(name, value);
}

/** Makes `parent` hold `count` children made by `create`, keeping those that are there. */
export function keepRows(parent, count, create) {
  while (parent.children.length > count) parent.lastElementChild.remove();
  while (parent.children.length < count) parent.append(create(parent.children.length));
  return parent.children;
}
