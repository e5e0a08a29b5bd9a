// Node's own HTTP server: `node.js PORT [KEEP-ALIVE-MS]`; without the second, its default of five seconds.
const http = require("http");

const server = http.createServer((request, response) => {
  request.resume();
  request.on("end", () => {
    response.setHeader("Content-Length", "3");
    response.end("ok\n");
  });
});
const [port, keeps] = process.argv.slice(2).map(Number);
if (keeps) server.keepAliveTimeout = keeps;
server.listen(port, "127.0.0.1");
