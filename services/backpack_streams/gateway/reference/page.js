// Sends what a form holds, and shows the answer below it. The text is shown as it came: a JSON parser would round its numbers.

const key = document.getElementById("key");

for (const form of document.forms) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const query = new URLSearchParams();
    for (const [name, value] of new FormData(form)) {
      if (value !== "") query.set(name, value);
    }
    const url = query.size ? `${form.getAttribute("action")}?${query}` : form.getAttribute("action");
    const shown = form.parentElement.querySelector(".answer");
    shown.hidden = false;
    shown.textContent = `GET ${url}\n…`;
    try {
      const answer = await fetch(url, { headers: key.value ? { "X-API-Key": key.value } : {} });
      const text = await answer.text();
      shown.textContent = `GET ${url}\n${answer.status} ${answer.statusText}\n\n${text}`;
    } catch (error) {
      shown.textContent = `GET ${url}\n${error.message}`;
    }
  });
}
