/** The console's page: mounts it. It holds no secret: what it shows it asks of the API with the token it is given. */
import { render } from "preact";
import { App } from "./app.tsx";

const root = document.getElementById("page");
if (root !== null) {
  render(<App />, root);
}
