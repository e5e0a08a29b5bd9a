// Node's own HTTP server: `node.js PORT`, with its default timers: five seconds for an idle connection.
const http = require("http");

const server = http.createServer((request, response) => {
  request.resume();
  request.on("end", () => {
    response.setHeader("Content-Length", "3");
    response.end("ok\n");
  });
});
server.listen(Number(process.argv[2]), "127.0.0.1");
