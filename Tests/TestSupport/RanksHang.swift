/// Ranks in threads that have not ended after three minutes, where all tests together take less.
package struct RanksHang: Error {
  package let ranks: [Int]
  package init(ranks: [Int]) { self.ranks = ranks }
}
