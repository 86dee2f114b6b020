import Foundation
import TestSupport
import Testing

/// Whether this machine lets a test make hosts: root, its tools, and no hosts of somebody else.
private let canMakeHosts: Bool = {
  let tools = ["/usr/sbin/ip", "/usr/sbin/tc", "/usr/bin/unshare", "/usr/bin/mpirun"]
  return geteuid() == 0
    && tools.allSatisfy {
      FileManager.default.isExecutableFile(atPath: $0)
        || FileManager.default.isExecutableFile(atPath: $0.replacing("/usr/sbin", with: "/sbin"))
    }
    && !FileManager.default.fileExists(atPath: "/run/lockstep-hosts")
    && (try? Program.shell(
      "ip netns add lockstep-try && ip netns delete lockstep-try", in: .temporaryDirectory))?
      .status == 0
}()

/// A run over TCP between two hosts with addresses of their own, whose cable is cut.
@Suite(
  .serialized,
  .enabled(
    if: canMakeHosts,
    "hosts cannot be made here: that needs root, network namespaces, iproute2 and Open MPI, and no hosts that are up"
  )
)
struct CableTests {
  @Test func `two hosts train to one process' weights, and a cut cable is named and ends with 76`()
    throws
  {
    let task = try MadeUpTask()
    let cluster = Fixtures.root.appending(path: "cluster").path
    let result = try Program.shell(
      """
      export LOCKSTEP
      trap '"\(cluster)/hosts-down" >/dev/null' EXIT
      "\(cluster)/hosts-up" 2 --slots 1 >&2
      $LOCKSTEP train recipe.yaml --run alone --threads 1 2>/dev/null
      timeout 60 "\(cluster)/hosts-mpirun" -n 2 -wdir "$PWD" "$LOCKSTEP" train recipe.yaml --run together --threads 1 2>/dev/null
      timeout 90 "\(cluster)/hosts-mpirun" -n 2 -wdir "$PWD" bash -c '"$0" "$@"; echo "rank $OMPI_COMM_WORLD_RANK ended with $?" >>ends' \
        "$LOCKSTEP" train recipe.yaml --run cut --threads 1 --set epochs=3000 --stall-seconds 6 >/dev/null 2>cut.log &
      for i in $(seq 300); do [ "$(cat cut/metrics.jsonl 2>/dev/null | wc -l)" -lt 5 ] || break; sleep 0.1; done
      "\(cluster)/hosts-link" node-b down
      cut=$(date +%s%N)
      for i in $(seq 300); do ! grep -q "no sign of life" cut.log || break; sleep 0.1; done
      echo "named after $(( ($(date +%s%N) - cut) / 1000000 )) ms"
      for i in $(seq 600); do ! grep -qs -e "rank 0 ended" -e "errorcode" ends cut.log || break; sleep 0.1; done
      cat ends 2>/dev/null
      cat cut.log >&2
      """, in: task.url)
    let weights = result.lines.filter { $0.hasPrefix("weights sha256") }
    #expect(weights.count == 2 && Set(weights).count == 1, "\(result.lines) \(result.messages)")
    let sentence =
      #/rank 1 \(node-b, process \d+\) has given no sign of life for \d+ s; it was last seen in /#
    #expect(result.messages.contains(sentence), "\(result.messages)")
    // Nobody answers on the other side, so the ranks cannot agree on the exit code: MPI_Abort says it after half a minute.
    #expect(
      result.lines.contains("rank 0 ended with 76")
        || result.messages.contains("with errorcode 76."), "\(result.lines) \(result.messages)")
    let milliseconds = result.lines.compactMap { line in
      line.wholeMatch(of: /named after (\d+) ms/).flatMap { Int($0.1) }
    }
    // Silence is named after three seconds; a loaded machine may take longer to look.
    #expect(milliseconds.count == 1 && milliseconds[0] < 20_000, "\(milliseconds)")
  }
}
